import { collectRows, differences, noRows, type Rows } from '../decisions/actual-lrps/rows.js';
import { actualLrpFilter } from '../decisions/filters.js';
import { ActualLRP, type ActualLRPsRequest } from '../messages/models.js';
import { elementOf, WholeList } from './element.js';

const noIndices: ReadonlyMap<number, Rows> = new Map();

/** All actual LRPs in memory: as decisions need them, and as responses do. */
export class ActualRows {
  readonly #byGuid = new Map<string, Map<number, Rows>>();
  readonly #byCell = new Map<string, Set<ActualLRP>>();
  /** Made when a row is asked for first. */
  readonly #elements = new Map<ActualLRP, Buffer>();
  readonly #whole = new WholeList();
  #count = 0;

  /** Rows by process guid, then by index. */
  get byGuid(): ReadonlyMap<string, ReadonlyMap<number, Rows>> {
    return this.#byGuid;
  }

  get count(): number {
    return this.#count;
  }

  of(processGuid: string): ReadonlyMap<number, Rows> {
    return this.#byGuid.get(processGuid) ?? noIndices;
  }

  at(processGuid: string, index: number): Rows {
    return this.#byGuid.get(processGuid)?.get(index) ?? noRows;
  }

  /** A row that was read from the database. */
  add(row: ActualLRP): void {
    const { processGuid, index } = row.actualLrpKey;
    const before = this.at(processGuid, index);
    this.set(processGuid, index, { ...before, ...collectRows([row]) });
  }

  set(processGuid: string, index: number, after: Rows): void {
    for (const pair of differences(this.at(processGuid, index), after)) {
      if (pair.before) this.#leave(pair.before);
      if (pair.after) this.#enter(pair.after);
    }
    this.#whole.forget();
    const isEmpty = !after.ordinary && !after.evacuating && !after.suspect;
    const indices = this.#byGuid.get(processGuid);
    if (!isEmpty) {
      if (indices) indices.set(index, after);
      else this.#byGuid.set(processGuid, new Map([[index, after]]));
    } else if (indices?.delete(index) && indices.size === 0) {
      this.#byGuid.delete(processGuid);
    }
  }

  /** The response to a request for a list (docs/protocol/bbs.md §7.2). */
  list(request: ActualLRPsRequest): Buffer {
    const { domain, cellId, processGuid, index } = request;
    if (domain === '' && cellId === '' && processGuid === '' && index === undefined) {
      return this.#whole.get(() => this.#elementsOf(this.all()));
    }
    const isAsked = actualLrpFilter(request);
    return Buffer.concat([...this.#elementsOf(filtered(this.#candidates(request), isAsked))]);
  }

  listOf(processGuids: Iterable<string>): Buffer {
    const elements = [...new Set(processGuids)].flatMap((guid) => [...this.#elementsOf(rowsOf(this.of(guid)))]);
    return Buffer.concat(elements);
  }

  *all(): Generator<ActualLRP> {
    for (const indices of this.#byGuid.values()) yield* rowsOf(indices);
  }

  /** Fewer rows that those that are asked for are among. */
  #candidates({ cellId, processGuid }: ActualLRPsRequest): Iterable<ActualLRP> {
    if (processGuid !== '') return rowsOf(this.of(processGuid));
    if (cellId !== '') return this.#byCell.get(cellId) ?? [];
    return this.all();
  }

  *#elementsOf(rows: Iterable<ActualLRP>): Generator<Buffer> {
    for (const row of rows) yield this.#elementOf(row);
  }

  #elementOf(row: ActualLRP): Buffer {
    let element = this.#elements.get(row);
    if (!element) {
      element = elementOf(ActualLRP, row);
      this.#elements.set(row, element);
    }
    return element;
  }

  #enter(row: ActualLRP): void {
    this.#count += 1;
    const { cellId } = row.actualLrpInstanceKey;
    if (cellId === '') return;
    const onCell = this.#byCell.get(cellId);
    if (onCell) onCell.add(row);
    else this.#byCell.set(cellId, new Set([row]));
  }

  #leave(row: ActualLRP): void {
    this.#count -= 1;
    this.#elements.delete(row);
    const { cellId } = row.actualLrpInstanceKey;
    const onCell = this.#byCell.get(cellId);
    if (onCell?.delete(row) && onCell.size === 0) this.#byCell.delete(cellId);
  }
}

function* rowsOf(indices: ReadonlyMap<number, Rows>): Generator<ActualLRP> {
  for (const { ordinary, evacuating, suspect } of indices.values()) {
    if (ordinary) yield ordinary;
    if (evacuating) yield evacuating;
    if (suspect) yield suspect;
  }
}

function* filtered(rows: Iterable<ActualLRP>, isAsked: (row: ActualLRP) => boolean): Generator<ActualLRP> {
  for (const row of rows) if (isAsked(row)) yield row;
}
