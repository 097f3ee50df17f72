/** Hears of what a database is asked, and of the connections to it, for the figures. */
export interface DatabaseObserver {
  started(): void;
  /** Of every query or transaction that was started, once. */
  ended(hasSucceeded: boolean, durationMs: number): void;
  /** A connection is there. */
  connected(): void;
  /** Of every connection that was there, once. */
  disconnected(): void;
  /** A query or transaction had to wait for a connection, because others had all of them. */
  waited(durationMs: number): void;
}
