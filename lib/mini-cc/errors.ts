/** Errors of the API: code, HTTP status and description (docs/protocol/legacy-cc.md §12). `%s` takes the detail. */
const catalogue = {
  InvalidAuthToken: [1000, 401, 'Invalid Auth Token'],
  MessageParseError: [1001, 400, 'Request invalid due to parse error: %s'],
  NotFound: [10000, 404, 'Unknown request'],
  ServerError: [10001, 500, 'Server error'],
  NotAuthenticated: [10002, 401, 'Authentication error'],
  NotAuthorized: [10003, 403, 'You are not authorized to perform the requested action'],
  InvalidRequest: [10004, 400, 'The request is invalid: %s'],
  BadQueryParameter: [10005, 400, 'The query parameter is invalid: %s'],
  UnableToPerform: [10009, 400, '%s'],
  UnprocessableEntity: [10008, 422, '%s'],
  ResourceNotFound: [10010, 404, '%s'],
  AppInvalid: [100001, 400, 'The app is invalid: %s'],
  AppNameTaken: [100002, 400, 'The app name is taken: %s'],
  AppNotFound: [100004, 404, 'The app could not be found: %s'],
  AppPackageInvalid: [150001, 400, 'The app package is invalid: %s'],
  AppPackageNotFound: [150002, 404, 'The app package could not be found: %s'],
  InsufficientRunningResourcesAvailable: [150003, 503, 'Insufficient resources to run %s'],
  AppBitsUploadInvalid: [160001, 400, 'The app upload is invalid: %s'],
  StagingError: [170001, 400, 'Staging error: %s'],
  NotStaged: [170002, 400, 'App has not finished staging'],
  NoAppDetectedError: [170003, 400, 'An app was not successfully detected by any available buildpack'],
  BuildpackCompileFailed: [170004, 400, 'App staging failed in the buildpack compile phase'],
  BuildpackReleaseFailed: [170005, 400, 'App staging failed in the buildpack release phase'],
  NoBuildpacksFound: [170006, 400, 'There are no buildpacks available'],
  StagingTimeExpired: [170007, 504, 'Staging time expired: %s'],
  InsufficientResources: [170008, 400, 'Insufficient resources'],
  NoCompatibleCell: [170009, 400, 'Found no compatible cell'],
  StagerUnavailable: [170010, 503, 'Stager is unavailable: %s'],
  StagerError: [170011, 500, 'Stager error: %s'],
  RunnerUnavailable: [170015, 503, 'Runner is unavailable: %s'],
  RunnerError: [170016, 500, 'Runner error: %s'],
  InvalidTaskAddress: [170018, 500, 'Invalid config: %s'],
  TaskError: [170019, 500, 'Task failed: %s'],
  TaskWorkersUnavailable: [170020, 503, 'Task workers are unavailable: %s'],
  FileError: [190001, 400, 'File error: %s'],
  StatsError: [200001, 400, 'Stats error: %s'],
  StatsUnavailable: [200002, 503, 'Stats unavailable: %s'],
  AppStoppedStatsError: [200003, 400, 'Could not fetch stats for stopped app: %s'],
  InstancesError: [220001, 400, 'Instances error: %s'],
  InstancesUnavailable: [220002, 503, 'Instances information unavailable: %s'],
  StackNotFound: [250003, 404, '%s'],
  StagingBackendInvalid: [
    320004,
    403,
    'The request staging completion endpoint only handles apps desired to stage on the Diego backend.',
  ],
  BackendSelectionNotAuthorized: [320005, 403, 'You cannot select the backend on which to run this application'],
  ProcessNotFound: [350003, 404, 'The process could not be found: %s'],
  // No error of a real Cloud Controller, which leaves logs to loggregator.
  LogsUnavailable: [990001, 503, 'Logs unavailable: %s'],
} as const satisfies Record<string, readonly [code: number, status: number, description: string]>;

/** Name of an error of the API, without the `CF-` that bodies put before it. */
export type ApiErrorName = keyof typeof catalogue;

/** What the API answers when it refuses: the body is `{"code","description","error_code":"CF-<Name>"}`. */
export class ApiError extends Error {
  override readonly name: ApiErrorName;
  /** Number of the error, as clients know it. */
  readonly code: number;
  /** HTTP status. */
  readonly status: number;

  /** `detail` goes where the description has a gap; it must hold no secrets, users read it. */
  constructor(name: ApiErrorName, detail = '', options?: ErrorOptions) {
    const [code, status, description] = catalogue[name];
    super(
      description.replace('%s', () => detail),
      options,
    );
    this.name = name;
    this.code = code;
    this.status = status;
  }

  /** The body of the answer, also what a failed job's `error_details` holds. */
  toJSON(): { code: number; description: string; error_code: string } {
    return { code: this.code, description: this.message, error_code: `CF-${this.name}` };
  }
}

/** The error as the API tells it; what is no error of the API is an internal one and tells nothing. */
export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError('ServerError', '', { cause: error });
}
