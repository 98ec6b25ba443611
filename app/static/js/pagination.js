// Cursor pagination of the gallery: pages through several statuses and merges them by date, newest first.

import { images } from "./api.js";

const PAGE = 120;

class StatusPages {
  #cursor = null;
  #items = [];
  #ended = false;

  constructor(query) {
    this.query = query;
  }

  /** The newest item not taken yet, or undefined at the end. */
  async head() {
    while (!this.#items.length && !this.#ended) {
      const page = await images({ ...this.query, limit: PAGE, cursor: this.#cursor });
      this.#items = page.images;
      this.#cursor = page.next_cursor;
      this.#ended = !page.next_cursor;
    }
    return this.#items[0];
  }

  take = () => this.#items.shift();
}

export class MergedPages {
  ended = false;
  #sources;

  /** `filter` has statuses, and optionally search, model, media, since: the query parameters of /api/images. */
  constructor({ statuses, ...filter }) {
    this.#sources = statuses.map((status) => new StatusPages({ ...filter, status }));
  }

  /** Up to `count` further items. */
  async next(count = PAGE) {
    const found = [];
    while (found.length < count) {
      const heads = await Promise.all(this.#sources.map((source) => source.head()));
      const newest = heads.reduce((best, item, index) => (item && (best < 0 || item.created_at > heads[best].created_at) ? index : best), -1);
      if (newest < 0) {
        this.ended = true;
        break;
      }
      found.push(this.#sources[newest].take());
    }
    return found;
  }
}
