// The service worker: shows the offline page while the server cannot be reached, keeps copies of static files for views that
// are first opened then, and takes what is shared with the installed page. Nothing else is kept: no answer of the API, no
// picture, not the page itself. The server writes VERSION, of the static files, and ENABLED before it.
/* global VERSION, ENABLED */

const BASE = new URL(self.registration.scope);
const [OFFLINE, SHARE, FILES] = ["offline", "share", "static/"].map((path) => new URL(path, BASE).href);
const OURS = `cyberimage ${BASE.pathname} `; // another CyberImage may live under another path of this host
const CACHE = OURS + VERSION;
const NEEDED = [OFFLINE, ...["js/theme.js", "js/offline.js", "icon.svg", ...["colors", "base", "controls", "offline"].map((name) => `css/${name}.css`)].map((path) => FILES + path)];
const AWAY = [502, 503, 504]; // a proxy answers, the server does not

let shared = null; // {text, files}, until the page asks for it

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));

async function install() {
  if (ENABLED) {
    const cache = await caches.open(CACHE);
    await cache.addAll(NEEDED.map((address) => new Request(address, { cache: "reload", credentials: "omit" })));
  }
  await self.skipWaiting();
}

/** Copies of other versions go; all of them, and this worker, when the server wants none. */
async function activate() {
  const names = (await caches.keys()).filter((name) => name.startsWith(OURS) && !(ENABLED && name === CACHE));
  await Promise.all(names.map((name) => caches.delete(name)));
  if (!ENABLED) return self.registration.unregister();
  await self.clients.claim();
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname, search } = new URL(request.url);
  const address = origin + pathname;
  if (!ENABLED) return;
  if (request.method === "POST" && address === SHARE) event.respondWith(takeShared(request));
  else if (request.method !== "GET") return;
  else if (request.mode === "navigate" && address === BASE.href) event.respondWith(page(event));
  else if (address.startsWith(FILES) && !search) event.respondWith(file(event));
});

const reached = (answer) => answer && !AWAY.includes(answer.status);
const kept = async (address) => (await caches.open(CACHE)).match(address);

async function page({ request }) {
  const answer = await fetch(request).catch(() => null);
  return reached(answer) ? answer : ((await kept(OFFLINE)) ?? answer ?? Response.error());
}

/** The server's file, of which a copy is kept; the copy while it cannot be reached. */
async function file(event) {
  const answer = await fetch(event.request).catch(() => null);
  if (answer?.status === 200 && answer.type === "basic") {
    const copy = answer.clone();
    event.waitUntil(caches.open(CACHE).then((cache) => cache.put(event.request, copy)).catch(() => {})); // no room: none is kept
  }
  return reached(answer) ? answer : ((await kept(event.request)) ?? answer ?? Response.error());
}

/** What another program shares never reaches the server: the page puts it into its form, and sends nothing. */
async function takeShared(request) {
  const form = await request.formData().catch(() => null);
  const texts = ["title", "text", "url"].map((name) => form?.get(name)).filter((text) => typeof text === "string" && text.trim());
  shared = form && { text: [...new Set(texts)].join("\n"), files: form.getAll("picture").filter((one) => one instanceof File && one.size) };
  return Response.redirect(`${BASE.href}#/?shared`, 303);
}

self.addEventListener("message", ({ data, ports }) => {
  if (data !== "shared") return;
  ports[0].postMessage(shared);
  shared = null;
});
