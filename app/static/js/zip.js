// Downloads many pictures as one archive.

import { respond } from "./api.js";
import { el } from "./dom.js";
import { bytes, plural } from "./format.js";
import { announce, toast } from "./notices.js";
import { t } from "./strings.js";

const HOUR = 3600;

/** `which` is {ids} or {filter}, `count` how many that are. */
export async function downloadZip(which, count) {
  announce(t`Fetching ${plural(count, "picture")}.`);
  const end = toast(t`Fetching ${plural(count, "picture")} …`, { stay: HOUR });
  try {
    const response = await respond("api/images/zip", { method: "POST", body: which, seconds: HOUR });
    const pieces = [];
    let size = 0;
    for (let reader = response.body.getReader(), part; !(part = await reader.read()).done; ) {
      pieces.push(part.value);
      size += part.value.length;
    }
    const url = URL.createObjectURL(new Blob(pieces, { type: "application/zip" }));
    const link = el("a", { href: url, download: `cyberimage-${new Date().toISOString().slice(0, 10)}.zip` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    end();
    toast(t`${plural(count, "picture")} saved, ${bytes(size)}`, { stay: 4 });
  } catch (error) {
    end();
    toast(error.message || t`The download broke off. Try again.`, { kind: "error" });
  }
}
