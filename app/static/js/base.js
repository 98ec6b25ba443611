// The server's base URL: the root of its host, or a path.

const BASE = new URL("../../", import.meta.url);

/** `path`, such as `api/models`, below the base URL. Absolute paths, which include the base already, are unchanged. */
export function pathTo(path) {
  const { pathname, search, hash } = new URL(path, BASE);
  return pathname + search + hash;
}
