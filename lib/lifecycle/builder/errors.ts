/** A stage of the build failed in a way that users are told about by its kind (docs/protocol/dea.md §18). */
export abstract class StagingError extends Error {
  /** The name that control planes know the failure by. */
  abstract readonly type: string;
}

export class NoAppDetectedError extends StagingError {
  readonly type = 'NoAppDetectedError';

  constructor() {
    super('An application could not be detected by any available buildpack');
  }
}

export class BuildpackCompileFailedError extends StagingError {
  readonly type = 'BuildpackCompileFailed';

  /** `cause` says what exactly failed; the message is what users know. */
  constructor(cause?: unknown) {
    super('Buildpack compilation step failed', { cause });
  }
}

export class BuildpackReleaseFailedError extends StagingError {
  readonly type = 'BuildpackReleaseFailed';

  /** `output` is what `bin/release` printed. */
  constructor(output: string, cause?: unknown) {
    super(`Release info failed:\n${output}`, { cause });
  }
}

/** A custom buildpack's URL is unusable, or its buildpack cannot be fetched; the text holds no secrets. */
export class BuildpackFetchError extends Error {}

/** The app's Procfile is no mapping of process types to commands. */
export class InvalidProcfileError extends Error {
  constructor(cause?: unknown) {
    super('Invalid Procfile format. Please ensure it is a valid YAML hash', { cause });
  }
}

/** The buildpack took longer than it may. */
export class BuildTimeoutError extends Error {
  constructor(readonly timeoutMs: number) {
    super(`The buildpack took longer than ${timeoutMs / 1000} seconds and was stopped`);
  }
}
