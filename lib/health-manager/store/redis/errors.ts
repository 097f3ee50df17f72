/** Something that this store says itself. */
abstract class RedisStoreError extends Error {}

/** Redis did not do what it was asked to: it is away, hangs, loads, is a replica, or is out of memory. */
export class StoreUnavailableError extends RedisStoreError {}

/** A key holds another type than what is kept there. */
export class WrongTypeError extends RedisStoreError {}

/** A value under one of our keys that nobody of us has written. */
export class ForeignValueError extends RedisStoreError {
  constructor(
    /** Without the prefix. */
    readonly key: string,
    readonly field: string,
    readonly value: string,
  ) {
    super(`cannot read the value of ${field} in ${key}`);
  }
}

/** Whether the store has given it its name already. */
export function isNamed(error: unknown): boolean {
  return error instanceof RedisStoreError;
}
