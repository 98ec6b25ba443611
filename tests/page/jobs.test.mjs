import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.mjs";

const [{ jobs, isActive }, { remainingText, statusText }, { statusPoll }] = await Promise.all(["jobs", "job-text", "status-poll"].map((name) => import(`../../app/static/js/${name}.js`)));
const id = (number) => number.toString(16).padStart(32, "0");
const job = (number, more = {}) => ({ job_id: id(number), status: "PENDING", prompt: "x", position: 1, created_at: new Date().toISOString(), progress: { phase: "starting", step: 0, total_steps: 0, percent: 0 }, ...more });

test("a job is known once, is told of with its status before, and remembered by all windows", () => {
  const heard = [];
  const stop = jobs.changed.on((one, before) => heard.push([one?.status ?? null, before]));
  jobs.add(job(1));
  jobs.add(job(1));
  jobs.update(id(1), { status: "PROCESSING", eta_seconds: 5, preview: "data:" });
  assert.ok(jobs.get(id(1)).eta_at > Date.now());
  jobs.update(id(1), { status: "COMPLETED" });
  assert.equal(jobs.get(id(1)).preview, null);
  assert.deepEqual(jobs.stored(), [id(1)]);
  jobs.update(id(9), { status: "FAILED" }); // not known: nothing happens
  jobs.remove(id(1));
  stop();
  assert.deepEqual(heard, [["PENDING", null], ["PROCESSING", "PENDING"], ["COMPLETED", "PROCESSING"], [null, null]]);
  assert.deepEqual(jobs.stored(), []);
});

test("the oldest that have ended are dropped, never those that run", () => {
  for (let number = 10; number < 40; number++) jobs.add(job(number, { status: number === 10 ? "PROCESSING" : "COMPLETED" }));
  const known = jobs.list().map(({ job_id }) => job_id);
  assert.equal(known.length, 24);
  assert.ok(known.includes(id(10)) && known.includes(id(39)) && !known.includes(id(11)));
  assert.equal(jobs.list().filter(isActive).length, 1);
});

test("what is remembered is checked when it is read", () => {
  localStorage.setItem("jobs", JSON.stringify([{ id: "../../x", at: Date.now() }, { id: id(5), at: Date.now() }, { id: id(6), at: 0 }, null]));
  assert.deepEqual(jobs.stored(), [id(5)]);
});

test("without a worker, and without a server, no time is promised", () => {
  const running = job(1, { status: "PROCESSING", eta_at: Date.now() + 60_000 });
  statusPoll.last = { checks: { workers: "ok" } };
  assert.match(remainingText(running), /^about (59|60) s$/);
  statusPoll.last = { checks: { workers: "no live worker" } };
  assert.equal(remainingText(running), "");
  statusPoll.last = null;
  assert.equal(remainingText(running), "no connection to the server");
});

test("a status in words", () => {
  assert.deepEqual([job(1), job(1, { position: 3 }), job(1, { waits_for: "a worker that has the LoRA style" }), job(1, { error: {} }), job(1, { status: "FAILED" })].map(statusText), ["Next in line", "3rd in line", "Waits for a worker that has the LoRA style", "Will be tried again", "Failed"]);
  const steps = { phase: "generating", step: 3, total_steps: 8, percent: 40 };
  assert.deepEqual([job(1, { status: "PROCESSING", progress: steps }), job(1, { status: "PROCESSING", progress: steps, cancel_requested: true })].map(statusText), ["Step 3 of 8", "Stopping at the next step"]);
});
