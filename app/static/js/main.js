// The first page: choose a model, send a prompt, watch it, see the latest pictures. It knows the API and nothing else.

const element = (id) => document.getElementById(id);
const modelSelect = element("model"), steps = element("steps"), stepsValue = element("steps-value");
let models = [];

async function getJson(url, options) {
  const response = await fetch(url, options);
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail || response.statusText);
  return body;
}

function showSteps() {
  stepsValue.textContent = steps.value;
}

function applyModel() {
  const rule = models.find((model) => model.id === modelSelect.value)?.steps ?? {};
  const fixed = rule.fixed !== undefined;
  steps.disabled = fixed;
  steps.min = fixed ? rule.fixed : (rule.min ?? 20);
  steps.max = fixed ? rule.fixed : (rule.max ?? 50);
  const last = Number(localStorage.getItem("lastStepsValue"));
  const fits = last >= Number(steps.min) && last <= Number(steps.max);
  steps.value = fixed ? rule.fixed : fits && last ? last : (rule.default ?? 30);
  showSteps();
}

function remember() {
  localStorage.setItem("lastModelId", modelSelect.value);
  if (!steps.disabled) localStorage.setItem("lastStepsValue", steps.value);
}

async function loadModels() {
  const answer = await getJson("/api/models");
  models = answer.models;
  modelSelect.replaceChildren(...models.map((model) => new Option(model.name, model.id)));
  const last = localStorage.getItem("lastModelId");
  modelSelect.value = models.some((model) => model.id === last) ? last : answer.default;
  element("prompt").maxLength = answer.prompt_max_chars;
  applyModel();
}

async function loadGallery() {
  const { images } = await getJson("/api/images?limit=24");
  element("gallery").replaceChildren(...images.map((image) => {
    const link = document.createElement("a"), picture = document.createElement("img");
    link.href = image.url;
    Object.assign(picture, { src: image.thumbnail_url, alt: image.prompt, title: image.prompt, loading: "lazy" });
    link.append(picture);
    return link;
  }));
}

function say(text, percent, failed = false) {
  element("result").hidden = false;
  element("result").classList.toggle("failed", failed);
  element("result-text").textContent = text;
  element("result-progress").value = percent;
}

function describe(job) {
  const progress = job.progress ?? job;
  if (job.status === "PENDING") return `waiting, number ${job.position} in line`;
  if (progress.phase === "generating") return `step ${progress.step} of ${progress.total_steps}`;
  return progress.phase.replaceAll("_", " ");
}

function watch(url) {
  return new Promise((resolve) => {
    const events = new EventSource(url);
    const hear = (event) => {
      const job = JSON.parse(event.data);
      say(describe(job), job.progress?.percent ?? job.percent);
      if (!["COMPLETED", "FAILED", "CANCELLED"].includes(job.status)) return;
      events.close();
      resolve(job);
    };
    events.addEventListener("status", hear);
    events.addEventListener("progress", hear);
  });
}

async function generate(event) {
  event.preventDefault();
  remember();
  element("submit").disabled = true;
  try {
    const settings = steps.disabled ? {} : { num_inference_steps: Number(steps.value) };
    const body = JSON.stringify({ prompt: element("prompt").value, model_id: modelSelect.value, settings });
    const headers = { "Content-Type": "application/json" };
    const job = await watch((await getJson("/api/generate", { method: "POST", headers, body })).events_url);
    if (job.status === "COMPLETED") say("done", 100);
    else say(job.error?.message ?? job.status.toLowerCase(), 0, true);
    await loadGallery();
  } catch (error) {
    say(error.message, 0, true);
  } finally {
    element("submit").disabled = false;
  }
}

modelSelect.addEventListener("change", () => { remember(); applyModel(); });
steps.addEventListener("input", () => { showSteps(); remember(); });
element("generate-form").addEventListener("submit", generate);
loadModels().catch((error) => say(error.message, 0, true));
loadGallery().catch(() => {});
