import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileAtomically } from '../files/atomic-write.js';
import { CoalescedWrite } from '../files/coalesced-write.js';

/** Who asked for a reservation; reapers touch only what belongs to their own owner. */
export type ReservationOwner = 'dea' | 'staging' | 'rep';

export interface Reservation {
  readonly id: string;
  readonly owner: ReservationOwner;
  readonly memoryMb: number;
  readonly diskMb: number;
}

/** Megabytes of memory and disk. */
export interface Resources {
  memoryMb: number;
  diskMb: number;
}

/** Not enough is free; `resource` is the one to name to users (docs/protocol/dea.md §7: disk first). */
export class InsufficientResourcesError extends Error {
  constructor(readonly resource: 'memory' | 'disk') {
    super(`Not enough ${resource} resources available`);
  }
}

/** The reservation's id is taken. */
export class DuplicateReservationError extends Error {
  constructor(readonly id: string) {
    super(`reservation ${id} exists already`);
  }
}

export interface LedgerOptions {
  /** File that the reservations are kept in. */
  path: string;
  /** Where its temporary files are made, on the same file system. @default beside `path` */
  temporaryDirectory?: string;
  /** Overcommit factors included. */
  capacity: Resources;
}

const reservationSchema = z.object({
  id: z.string(),
  owner: z.enum(['dea', 'staging', 'rep']),
  memoryMb: z.number(),
  diskMb: z.number(),
});
const fileSchema = z.object({ reservations: z.array(reservationSchema) });

/**
 * The only place that decides a cell's capacity, for every front (docs/adr/0003-one-ledger.md).
 *
 * A reservation counts from the moment it is asked for and is on the disk before it is granted; it is released only
 * when its container is known to be gone. The sum of reservations never exceeds the capacity. What a restart finds
 * larger than a meanwhile lowered capacity stays: free resources are negative then.
 */
export class Ledger {
  private readonly reservations = new Map<string, Reservation>();
  private readonly listeners = new Set<() => void>();
  private readonly file = new CoalescedWrite(() => this.write());

  private constructor(private readonly options: LedgerOptions) {}

  /** Reads what an earlier process left. @throws when the file is damaged: capacity must not be guessed */
  static async open(options: LedgerOptions): Promise<Ledger> {
    const ledger = new Ledger(options);
    for (const reservation of await readReservations(options.path)) {
      ledger.reservations.set(reservation.id, reservation);
    }
    return ledger;
  }

  get capacity(): Resources {
    return { ...this.options.capacity };
  }

  /** Sums of all reservations, or of one owner's. */
  reserved(owner?: ReservationOwner): Resources {
    const sum = { memoryMb: 0, diskMb: 0 };
    for (const reservation of this.reservations.values()) {
      if (owner !== undefined && reservation.owner !== owner) continue;
      sum.memoryMb += reservation.memoryMb;
      sum.diskMb += reservation.diskMb;
    }
    return sum;
  }

  /** What every front offers: capacity minus reservations; negative when the capacity was lowered meanwhile. */
  free(): Resources {
    const { memoryMb, diskMb } = this.reserved();
    return { memoryMb: this.options.capacity.memoryMb - memoryMb, diskMb: this.options.capacity.diskMb - diskMb };
  }

  /** The resource that does not fit, disk before memory; undefined when both fit. */
  constrainedResource(wanted: Resources): 'memory' | 'disk' | undefined {
    const free = this.free();
    if (free.diskMb < wanted.diskMb) return 'disk';
    if (free.memoryMb < wanted.memoryMb) return 'memory';
    return undefined;
  }

  get(id: string): Reservation | undefined {
    return this.reservations.get(id);
  }

  list(): Reservation[] {
    return [...this.reservations.values()];
  }

  /**
   * Decides at once, in the order of the calls; resolves when the reservation is on the disk.
   * @throws InsufficientResourcesError, DuplicateReservationError; and the disk's error, then nothing is reserved
   */
  async reserve(reservation: Reservation): Promise<Reservation> {
    if (this.reservations.has(reservation.id)) throw new DuplicateReservationError(reservation.id);
    const constrained = this.constrainedResource(reservation);
    if (constrained) throw new InsufficientResourcesError(constrained);
    this.reservations.set(reservation.id, { ...reservation });
    try {
      await this.file.save();
    } catch (error) {
      this.reservations.delete(reservation.id);
      throw error;
    }
    this.announce();
    return reservation;
  }

  /** Gives a part back, for example the memory of a crashed instance whose files stay. Never grows a reservation. */
  async shrink(id: string, to: Partial<Resources>): Promise<void> {
    const current = this.reservations.get(id);
    if (!current) return;
    this.reservations.set(id, {
      ...current,
      memoryMb: Math.min(current.memoryMb, to.memoryMb ?? current.memoryMb),
      diskMb: Math.min(current.diskMb, to.diskMb ?? current.diskMb),
    });
    this.announce();
    await this.file.save();
  }

  /** Idempotent. The capacity is free at once; a failed write is repaired by the next one. */
  async release(id: string): Promise<void> {
    if (!this.reservations.delete(id)) return;
    this.announce();
    await this.file.save();
  }

  /** Calls back after each change of what is free, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private announce(): void {
    for (const listener of this.listeners) listener();
  }

  private write(): Promise<void> {
    const { path, temporaryDirectory } = this.options;
    const content = `${JSON.stringify({ reservations: this.list() })}\n`;
    return writeFileAtomically(path, content, temporaryDirectory === undefined ? {} : { temporaryDirectory });
  }
}

async function readReservations(path: string): Promise<Reservation[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  try {
    return fileSchema.parse(JSON.parse(text)).reservations;
  } catch (error) {
    throw new Error(`${path} is damaged: ${(error as Error).message}`, { cause: error });
  }
}
