// localStorage and sessionStorage without exceptions: when storage is disabled or full, nothing is stored.

let closed = false;

function wrap(storage) {
  return {
    read(key) {
      try {
        return storage()?.getItem(key) ?? null;
      } catch {
        return null;
      }
    },
    write(key, value) {
      if (closed) return;
      try {
        storage()?.setItem(key, value);
      } catch {
        /* disabled or full: the page works without */
      }
    },
    readJson(key, fallback) {
      try {
        return JSON.parse(this.read(key)) ?? fallback;
      } catch {
        return fallback;
      }
    },
  };
}

export const localStore = wrap(() => window.localStorage);
export const sessionStore = wrap(() => window.sessionStorage);

/** Until the page is loaded again nothing is stored: the form and the jobs, saved a moment later, must not bring back what a
 * sign-out has just removed. */
export const closeStores = () => (closed = true);
