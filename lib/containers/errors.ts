/** Base of every error that a caller of the engine may act on. */
export abstract class EngineError extends Error {}

export class UnknownHandleError extends EngineError {
  constructor(readonly handle: string) {
    super(`unknown handle: ${handle}`);
  }
}

export class HandleInUseError extends EngineError {
  constructor(readonly handle: string) {
    super(`Handle '${handle}' already in use`);
  }
}

/** A container or process description is wrong; the text names the field. */
export class InvalidSpecError extends EngineError {}

export class UnknownProcessError extends EngineError {
  constructor(readonly processId: string) {
    super(`unknown process: ${processId}`);
  }
}

export class ProcessIdInUseError extends EngineError {
  constructor(readonly processId: string) {
    super(`process ID '${processId}' already in use`);
  }
}

export class ExecutableNotFoundError extends EngineError {}

export class UnknownUserError extends EngineError {
  constructor(readonly user: string) {
    super(`unable to find user ${user}: no matching entries in passwd file`);
  }
}

export class UnknownPropertyError extends EngineError {
  constructor(readonly property: string) {
    super(`property does not exist: ${property}`);
  }
}

/** Something in the container's network pool, port pool or the like is used up. */
export class ExhaustedError extends EngineError {}

/** The host lacks something that the engine needs; the text says what, and the command that brings it. */
export class HostRequirementError extends EngineError {}

/** An image cannot be had, is damaged, or must not be unpacked; the text names it. */
export class ImageError extends EngineError {}
