// HTTP client of the API. Throws ApiError for problem documents and Offline when the server cannot be reached.

import { pathTo } from "./base.js";
import { t, told } from "./strings.js";

const MOST_KEPT_ALIVE = 1000; // ids: a browser sends 64 KiB after the page was left
const ID = / ?\b[0-9a-f]{32}\b/g; // of a job or picture, which says nothing to users

/** An error response. `message` is a sentence for users. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(told(problem.code, (problem.detail || problem.title || t`The server answered ${status}.`).replace(ID, "")));
    this.status = status;
    this.code = problem.code || "internal";
    this.errors = problem.errors || [];
  }
}

/** The server did not respond. */
export class Offline extends Error {
  constructor() {
    super(t`CyberImage does not respond. Nothing you typed is lost; try again in a moment.`);
  }
}

/** `prompt(method)` is called after a 401; it resolves to whether to repeat the request. */
export const signIn = { prompt: null };

/** The parsed answer. With `anonymous` a 401 does not prompt for a sign-in; `seconds` is how long it may take. */
export async function call(path, options = {}) {
  const response = await respond(path, options);
  return response.status === 204 ? null : response.json().catch(() => ({}));
}

/** The response, whose body is unread. Throws as `call` does. */
export async function respond(path, { method = "GET", body, headers = {}, keepalive = false, anonymous = false, seconds = 15 } = {}) {
  let response;
  try {
    response = await fetch(pathTo(path), {
      method,
      keepalive,
      headers: { Accept: "application/json", ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(seconds * 1000),
    });
  } catch {
    throw new Offline();
  }
  if (response.status === 401 && !anonymous && signIn.prompt && (await signIn.prompt(method))) {
    return respond(path, { method, body, headers, keepalive, seconds, anonymous: true });
  }
  if (!response.ok) throw new ApiError(response.status, await response.json().catch(() => ({})));
  return response;
}

export const get = (path) => call(path);
export const post = (path, body, headers) => call(path, { method: "POST", body, headers });
export const statusOf = (jobId) => get(`api/status/${jobId}`);
export const cancel = (jobId) => post(`api/jobs/${jobId}/cancel`);
export const retry = (jobId) => post(`api/jobs/${jobId}/retry`);

/** Does `action` to many pictures: `which` is {ids} or {filter}. */
export function act(action, which) {
  const body = { action, ...which };
  const keepalive = (which.ids?.length ?? 0) < MOST_KEPT_ALIVE; // it is done although the page is left
  return call("api/images/actions", { method: "POST", body, seconds: 120, keepalive });
}

export function images(query) {
  const wanted = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return get(`api/images?${new URLSearchParams(wanted)}`);
}
