/** Hears of what is asked of the database, for the figures. */
export interface QueryObserver {
  started(): void;
  /** Of every query or transaction that was started, once. */
  ended(hasSucceeded: boolean, durationMs: number): void;
}
