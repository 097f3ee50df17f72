/** Something that is started, and stopped in the opposite order. */
export interface Part {
  start(): void | Promise<void>;
  /** Idempotent. */
  stop(): void | Promise<void>;
}
