import { type DesiredOutline, outlineOf } from '../decisions/desired-lrps/outline.js';
import { fullForm, routingInfo, schedulingInfo } from '../decisions/desired-lrps/read-forms.js';
import { desiredLrpFilter } from '../decisions/filters.js';
import { decode } from '../messages/codec.js';
import { DesiredLRP, DesiredLRPSchedulingInfo, type DesiredLRPsRequest } from '../messages/models.js';
import { elementOf, messageOf, WholeList } from './element.js';

/** One desired LRP: what decisions look at again and again, and the forms in which it is read, encoded. */
interface DesiredRow {
  readonly outline: DesiredOutline;
  readonly full: Buffer;
  readonly scheduling: Buffer;
  /** Made when it is asked for. */
  routing?: Buffer;
}

type Form = 'full' | 'scheduling' | 'routing';

/** All desired LRPs in memory. Most of each is read often and never looked into, so it lies encoded. */
export class DesiredRows {
  readonly #rows = new Map<string, DesiredRow>();
  readonly #outlines = new Map<string, DesiredOutline>();
  readonly #whole: Readonly<Record<Form, WholeList>> = {
    full: new WholeList(),
    scheduling: new WholeList(),
    routing: new WholeList(),
  };

  /** By process guid. */
  get outlines(): ReadonlyMap<string, DesiredOutline> {
    return this.#outlines;
  }

  get(processGuid: string): DesiredLRP | undefined {
    const row = this.#rows.get(processGuid);
    return row && decode(DesiredLRP, messageOf(row.full));
  }

  schedulingInfo(processGuid: string): DesiredLRPSchedulingInfo | undefined {
    const row = this.#rows.get(processGuid);
    return row && decode(DesiredLRPSchedulingInfo, messageOf(row.scheduling));
  }

  set(desired: DesiredLRP): void {
    const { processGuid } = desired;
    const outline = outlineOf(desired);
    this.#rows.set(processGuid, {
      outline,
      full: elementOf(DesiredLRP, fullForm(desired)),
      scheduling: elementOf(DesiredLRPSchedulingInfo, schedulingInfo(desired)),
    });
    this.#outlines.set(processGuid, outline);
    this.#forget();
  }

  delete(processGuid: string): void {
    this.#rows.delete(processGuid);
    this.#outlines.delete(processGuid);
    this.#forget();
  }

  /** The response to a request for one; undefined when it is not there. */
  element(processGuid: string, form: 'full' | 'scheduling'): Buffer | undefined {
    return this.#rows.get(processGuid)?.[form];
  }

  /** The response to a request for a list (docs/protocol/bbs.md §6). */
  list(form: Form, request: DesiredLRPsRequest): Buffer {
    const asked = askedFor(form, request);
    if (isEverything(asked)) return this.#whole[form].get(() => this.#elements(this.#rows.keys(), form));
    return Buffer.concat([...this.#elements(this.#select(asked), form)]);
  }

  /** What a request for full forms is about, decoded, for older revisions. */
  *listDecoded(request: DesiredLRPsRequest): Generator<DesiredLRP> {
    for (const guid of this.#select(request)) yield this.get(guid)!;
  }

  *#select(request: Partial<DesiredLRPsRequest>): Generator<string> {
    const isAsked = desiredLrpFilter(request);
    const { processGuids = [] } = request;
    const candidates = processGuids.length > 0 ? new Set(processGuids) : this.#rows.keys();
    for (const guid of candidates) {
      const outline = this.#outlines.get(guid);
      if (outline && isAsked(outline)) yield guid;
    }
  }

  *#elements(guids: Iterable<string>, form: Form): Generator<Buffer> {
    for (const guid of guids) yield this.#elementOf(this.#rows.get(guid)!, form);
  }

  #elementOf(row: DesiredRow, form: Form): Buffer {
    if (form !== 'routing') return row[form];
    row.routing ??= elementOf(DesiredLRP, routingInfo(decode(DesiredLRP, messageOf(row.full))));
    return row.routing;
  }

  #forget(): void {
    for (const list of Object.values(this.#whole)) list.forget();
  }
}

/** Scheduling infos leave out `appGuids`, routing infos the domain too. */
function askedFor(form: Form, { domain, processGuids, appGuids }: DesiredLRPsRequest): DesiredLRPsRequest {
  return {
    domain: form === 'routing' ? '' : domain,
    processGuids,
    appGuids: form === 'full' ? appGuids : [],
  };
}

function isEverything({ domain, processGuids, appGuids }: DesiredLRPsRequest): boolean {
  return domain === '' && processGuids.length === 0 && appGuids.length === 0;
}
