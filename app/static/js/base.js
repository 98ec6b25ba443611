// Where the server is: at the root of its host, or under a path. The only place that knows.

const BASE = new URL("../../", import.meta.url);

/** `api/models` as a path of this host. What the server wrote, with its path in front, stays as it is. */
export function pathTo(path) {
  const { pathname, search, hash } = new URL(path, BASE);
  return pathname + search + hash;
}
