/** Where locks are kept that processes on several hosts compete for. Every method rejects when it cannot be reached. */
export interface LockBackend {
  /** @throws when the backend cannot be reached */
  start(): Promise<void>;
  /** Idempotent. Leaves locks that are held to end by themselves. */
  stop(): Promise<void>;
  /**
   * @param component whose lock it is, such as `listener`
   * @param token names the holder
   * @returns whether the token has the lock now, for so many milliseconds
   */
  take(component: string, token: string, ttlMs: number): Promise<boolean>;
  /** @returns whether the token had the lock still, and has it for so many milliseconds more */
  renew(component: string, token: string, ttlMs: number): Promise<boolean>;
  /** Frees the lock if the token has it. */
  free(component: string, token: string): Promise<void>;
}
