// Talks to the server. Turns its problem documents into ApiError and a dead line into Offline; knows no page.

import { pathTo } from "./base.js";

const PATIENCE = 15_000;

/** The server answered, and the answer is no. `message` is a sentence for people. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.code = problem.code || "internal";
    this.errors = problem.errors || [];
  }
}

/** Nobody answered. */
export class Offline extends Error {
  constructor() {
    super("CyberImage does not answer at the moment. Nothing you typed is lost.");
  }
}

/** `ask(method)` is called when the server wants to know who is there; it resolves to whether to try again. */
export const door = { ask: null };

/** With `guest` nobody is asked to sign in. */
export async function call(path, { method = "GET", body, headers = {}, keepalive = false, guest = false } = {}) {
  let response;
  try {
    response = await fetch(pathTo(path), {
      method,
      keepalive,
      headers: { Accept: "application/json", ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new Offline();
  }
  if (response.status === 204) return null;
  if (response.status === 401 && !guest && door.ask && (await door.ask(method))) {
    return call(path, { method, body, headers, keepalive, guest: true });
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
