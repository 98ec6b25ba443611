// What this browser remembers: for good (memory) or for this tab (draft). Storage may be off or full: then nothing is.

function over(storage) {
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
        /* private mode, or full: the page works without */
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

export const memory = over(() => window.localStorage);
export const draft = over(() => window.sessionStorage);
