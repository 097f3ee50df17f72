import { type BbsEvent, concernsCell, encodeEvent } from '../decisions/events/event.js';
import { eventForRevision0 } from '../translations/versions.js';

/** One event as streams carry it, without the id that each stream counts for itself (docs/protocol/bbs.md §11.1). */
export class SharedFrame {
  readonly #texts: (Buffer | undefined)[] = [];

  constructor(readonly event: BbsEvent) {}

  /** Lines `event` and `data`, and the empty one. */
  text(revision: 0 | 1): Buffer {
    let text = this.#texts[revision];
    if (!text) {
      const event = revision === 0 ? eventForRevision0(this.event) : this.event;
      text = Buffer.from(`event: ${event.name}\ndata: ${encodeEvent(event).toString('base64')}\n\n`, 'latin1');
      this.#texts[revision] = text;
    }
    return text;
  }

  /** @param cellId empty: of all cells */
  isFor(cellId: string): boolean {
    return cellId === '' || concernsCell(this.event, cellId);
  }
}
