// HTTP client of the API. Throws ApiError for problem documents and Offline when the server cannot be reached.

import { pathTo } from "./base.js";

const TIMEOUT_MILLISECONDS = 15_000;

/** An error response. `message` is a sentence for users. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.code = problem.code || "internal";
    this.errors = problem.errors || [];
  }
}

/** The server did not respond. */
export class Offline extends Error {
  constructor() {
    super("CyberImage does not respond. Nothing you typed is lost; try again in a moment.");
  }
}

/** `prompt(method)` is called after a 401; it resolves to whether to repeat the request. */
export const signIn = { prompt: null };

/** With `anonymous` a 401 does not prompt for a sign-in. */
export async function call(path, { method = "GET", body, headers = {}, keepalive = false, anonymous = false } = {}) {
  let response;
  try {
    response = await fetch(pathTo(path), {
      method,
      keepalive,
      headers: { Accept: "application/json", ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
    });
  } catch {
    throw new Offline();
  }
  if (response.status === 204) return null;
  if (response.status === 401 && !anonymous && signIn.prompt && (await signIn.prompt(method))) {
    return call(path, { method, body, headers, keepalive, anonymous: true });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, answer);
  return answer;
}

export const get = (path) => call(path);
export const post = (path, body, headers) => call(path, { method: "POST", body, headers });
export const statusOf = (jobId) => get(`api/status/${jobId}`);
export const cancel = (jobId) => post(`api/jobs/${jobId}/cancel`);
export const retry = (jobId) => post(`api/jobs/${jobId}/retry`);

export function images(query) {
  const wanted = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return get(`api/images?${new URLSearchParams(wanted)}`);
}
