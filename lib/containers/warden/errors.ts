/** A request that the server refuses; the text is what the client gets (docs/protocol/containers.md §1.4-§1.6). */
export class WardenError extends Error {}

/** No container has this handle. */
export class UnknownContainerError extends WardenError {
  constructor() {
    super('unknown handle');
  }
}

/** No such job in this container, or its result was given to someone already. */
export class UnknownJobError extends WardenError {
  constructor() {
    super('no such job');
  }
}

/** What a Warden container may be. */
export type WardenState = 'born' | 'active' | 'stopped' | 'destroyed';

/** A request that makes no sense in the container's state. */
export class WrongStateError extends WardenError {
  constructor(allowed: readonly WardenState[], current: WardenState) {
    super(`Container state must be one of '${allowed.join(', ')}', current state is '${current}'`);
  }
}
