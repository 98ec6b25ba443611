// A list of listeners that are called on `emit`.

export class Signal {
  #listeners = new Set();

  /** Returns a function that stops listening. */
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(...news) {
    for (const listener of [...this.#listeners]) listener(...news);
  }
}
