import { Measured } from '../metrics/measured.js';
import type { DatabaseObserver } from './database-observer.js';

/** What is counted and measured of one database (docs/protocol/bbs.md §18, docs/protocol/edge.md §6.4). */
export class DatabaseFigures implements DatabaseObserver {
  readonly queries = new Measured();
  openConnections = 0;
  /** How often somebody waited for a connection, and how long all of them together. */
  waitCount = 0;
  waitedMs = 0;

  started(): void {
    this.queries.start();
  }

  ended(hasSucceeded: boolean, durationMs: number): void {
    this.queries.end(hasSucceeded ? 'succeeded' : 'failed', durationMs);
  }

  connected(): void {
    this.openConnections += 1;
  }

  disconnected(): void {
    this.openConnections -= 1;
  }

  waited(durationMs: number): void {
    this.waitCount += 1;
    this.waitedMs += durationMs;
  }
}
