// The gallery's filter: in the address of the view, as a query of /api/images, and as the filter of an action. Pure.

import { t } from "./strings.js";

const DAY_MILLISECONDS = 86_400_000;

export const DEFAULTS = { show: "all", search: "", model: "", media: "", days: "", sort: "newest", tag: "", until: "", seed: "" };
const SHOWS = ["all", "pictures", "favorites", "progress", "failed", "cancelled", "bin"];
const CHECKS = {
  show: (value) => SHOWS.includes(value),
  sort: (value) => ["newest", "oldest"].includes(value),
  media: (value) => ["image", "video"].includes(value),
  days: (value) => /^\d{1,5}$/.test(value),
  until: (value) => /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)),
  seed: (value) => /^\d{1,10}$/.test(value) && Number(value) < 2 ** 32,
  search: (value) => value.length <= 500,
  model: (value) => value.length <= 100,
  tag: (value) => value.length <= 50 && !value.includes(","),
};

/** The filter of an address; what makes no sense is left out. */
export function fromAddress(parameters) {
  const found = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    const value = parameters.get(name);
    if (value && CHECKS[name](value)) found[name] = value;
  }
  return found;
}

export function toAddress(filter) {
  const parameters = new URLSearchParams(Object.entries(filter).filter(([name, value]) => value !== DEFAULTS[name]));
  return `#/gallery${parameters.size ? `?${parameters}` : ""}`;
}

/** Whether it leaves out some of what `show` shows. */
export const isFiltered = (filter) => Object.keys(DEFAULTS).some((name) => !["show", "sort"].includes(name) && filter[name] !== DEFAULTS[name]);

/** Whether only pictures can match, and no waiting or failed jobs. */
export const isOfPictures = ({ show, tag, seed, sort }) => show === "favorites" || show === "bin" || Boolean(tag || seed) || sort === "oldest";

/** Whether the view has pictures that can be selected; jobs that wait or failed have none. */
export const hasPictures = ({ show }) => !["progress", "failed", "cancelled"].includes(show);

/** Parameters of /api/images. */
export function toQuery({ show, search, model, media, days, sort, tag, until, seed }, now = Date.now()) {
  const query = { search, model, media, tag, seed, sort: sort === "newest" ? "" : sort };
  if (days) query.since = new Date(now - Number(days) * DAY_MILLISECONDS).toISOString();
  if (until) query.until = endOfDay(until).toISOString();
  if (show === "favorites") query.favorite = 1;
  if (show === "bin") query.bin = 1;
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value));
}

/** The `filter` of an action: the same pictures as the query's, up to `now`. */
export function selectionFilter(filter, now = Date.now()) {
  if (!hasPictures(filter)) throw new Error(t`There are no pictures in this view.`); // it would mean all of the gallery
  const { sort: _, bin: __, favorite, seed, ...rest } = toQuery(filter, now);
  return { ...rest, ...(favorite ? { favorite: true } : {}), ...(seed ? { seed: Number(seed) } : {}) };
}

/** The day in the user's time zone, whole. */
function endOfDay(text) {
  const [year, month, day] = text.split("-").map(Number);
  return new Date(year, month - 1, day + 1);
}
