// localStorage and sessionStorage without exceptions: when storage is disabled or full, nothing is stored.

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
