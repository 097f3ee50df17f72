import { errorData, type Logger } from '../../logging/logger.js';
import { fromJson } from '../messages/json/parse.js';
import { CellPresence } from '../messages/models.js';
import { OutsideFailure } from '../outside-failure.js';
import type { Cells } from './peers.js';

/** Where presences are kept: Locket, or a lock store in this process. */
export interface Presences {
  list(type: 'presence'): Promise<readonly { readonly key: string; readonly value: string }[]>;
  fetch(key: string): Promise<{ readonly value: string } | undefined>;
}

/** Reads cells from their presences, whose values are JSON (docs/protocol/bbs.md §10). */
export class PresenceCells implements Cells {
  constructor(
    private readonly presences: Presences,
    private readonly logger: Logger,
  ) {}

  async list(): Promise<CellPresence[]> {
    const presences = await this.presences.list('presence').catch(lookupFailed);
    return presences.flatMap(({ key, value }) => this.#read(key, value) ?? []);
  }

  async find(cellId: string): Promise<CellPresence | undefined> {
    const presence = await this.presences.fetch(cellId).catch(lookupFailed);
    return presence && this.#read(cellId, presence.value);
  }

  /** Who else is present is none of the board's business. */
  #read(key: string, value: string): CellPresence | undefined {
    try {
      return fromJson(CellPresence, value);
    } catch (error) {
      this.logger.warn('bbs.presence.unreadable', { key, ...errorData(error) });
      return undefined;
    }
  }
}

function lookupFailed(error: Error): never {
  throw new OutsideFailure(error.message, { cause: error });
}
