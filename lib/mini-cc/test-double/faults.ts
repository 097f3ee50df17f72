import { z } from 'zod';
import { matchesSubject } from './message-log.js';

const direction = z.enum(['in', 'out', 'both']).default('both');
const subject = z.string().regex(/^[^\s]+$/, 'must be a subject, * and > allowed');
const path = z.string().startsWith('/', 'must begin with /');
/** How often it happens; forever where it is left out. */
const count = z.int().positive().optional();
const once = z.int().positive().default(1);

/** What `POST /__fault` takes (docs/protocol/legacy-cc.md §12). A `*` in a path stands for one segment. */
export const faultSchema = z.discriminatedUnion('fault', [
  z.strictObject({ fault: z.literal('drop'), subject, direction, count }),
  z.strictObject({ fault: z.literal('delay'), subject, direction, milliseconds: z.int().min(0).max(3_600_000), count }),
  z.strictObject({
    fault: z.literal('status'),
    path,
    method: z.string().toUpperCase().optional(),
    status: z.int().min(200).max(599),
    count: once,
  }),
  z.strictObject({ fault: z.literal('lose-staging-reply'), reply: z.enum(['first', 'second']), count: once }),
  z.strictObject({
    fault: z.literal('truncate'),
    path: path.default('/staging/droplets/*/download'),
    /** `short` has the length of what is sent; `cut` breaks off before the length that is told. */
    how: z.enum(['short', 'cut']).default('short'),
    count: once,
  }),
  z.strictObject({ fault: z.literal('wrong-md5'), path: path.default('/staging/droplets/*/upload'), count: once }),
  z.strictObject({ fault: z.literal('job'), outcome: z.enum(['fails', 'never-ends']), count: once }),
  z.strictObject({ fault: z.literal('expire'), cell: z.string().optional() }),
  z.strictObject({
    fault: z.literal('generation'),
    generation: z.union([z.literal(2014), z.literal(2015), z.literal(2016)]),
  }),
]);
export type Fault = z.output<typeof faultSchema>;
export type FaultOf<Kind extends Fault['fault']> = Extract<Fault, { fault: Kind }>;
/** Which year's Cloud Controller is played. */
export type Generation = FaultOf<'generation'>['generation'];

/** Those that wait for something to happen. */
type WaitingFault = Exclude<Fault, { fault: 'expire' } | { fault: 'generation' }>;

export interface ActiveFault {
  id: number;
  fault: WaitingFault;
  /** Undefined: without end. */
  left: number | undefined;
}

/** The faults that are to happen, oldest first: the first one that fits does. */
export class Faults {
  readonly #active: ActiveFault[] = [];
  #lastId = 0;

  add(fault: WaitingFault): ActiveFault {
    this.#lastId += 1;
    const active = { id: this.#lastId, fault, left: fault.count };
    this.#active.push(active);
    return active;
  }

  list(): ActiveFault[] {
    return [...this.#active];
  }

  /** @returns whether there was one */
  remove(id: number): boolean {
    const at = this.#active.findIndex((active) => active.id === id);
    if (at === -1) return false;
    this.#active.splice(at, 1);
    return true;
  }

  clear(): void {
    this.#active.length = 0;
  }

  /** The fault that hits a message of the bus; it is used up by that. */
  ofMessage(subject: string, direction: 'in' | 'out'): FaultOf<'drop' | 'delay'> | undefined {
    return this.#take(
      (fault): fault is FaultOf<'drop' | 'delay'> =>
        (fault.fault === 'drop' || fault.fault === 'delay') &&
        (fault.direction === 'both' || fault.direction === direction) &&
        matchesSubject(fault.subject, subject),
    );
  }

  /** The fault that hits a stager's first (1) or second (2) reply. */
  ofStagingReply(number: number): FaultOf<'lose-staging-reply'> | undefined {
    return this.#take(
      (fault): fault is FaultOf<'lose-staging-reply'> =>
        fault.fault === 'lose-staging-reply' && (fault.reply === 'first' ? 1 : 2) === number,
    );
  }

  /** The fault that hits a request over HTTP. */
  ofRequest(method: string, path: string): FaultOf<'status' | 'truncate' | 'wrong-md5'> | undefined {
    return this.#take(
      (fault): fault is FaultOf<'status' | 'truncate' | 'wrong-md5'> =>
        (fault.fault === 'status' || fault.fault === 'truncate' || fault.fault === 'wrong-md5') &&
        matchesPath(fault.path, path) &&
        (!('method' in fault) || fault.method === undefined || fault.method === method),
    );
  }

  /** The fault that hits a new job. */
  ofJob(): FaultOf<'job'> | undefined {
    return this.#take((fault): fault is FaultOf<'job'> => fault.fault === 'job');
  }

  #take<Kind extends WaitingFault>(fits: (fault: WaitingFault) => fault is Kind): Kind | undefined {
    for (const active of this.#active) {
      const { fault } = active;
      if (!fits(fault)) continue;
      if (active.left !== undefined) active.left -= 1;
      if (active.left === 0) this.remove(active.id);
      return fault;
    }
    return undefined;
  }
}

/** A pattern fits the path itself and what lies below it. */
function matchesPath(pattern: string, path: string): boolean {
  const [wanted, given] = [pattern, path].map((text) => text.split('/').filter(Boolean));
  return wanted!.length <= given!.length && wanted!.every((segment, at) => segment === '*' || segment === given![at]);
}
