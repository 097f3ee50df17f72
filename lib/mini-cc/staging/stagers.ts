import { type App, type Backend, backendOf } from '../apps/app.js';

/** Has apps staged. */
export interface AppStager {
  /**
   * Begins a staging.
   * @returns URL of the growing staging log; null when there is none
   * @throws ApiError when it could not be begun
   */
  stage(app: App): Promise<string | null>;

  /** Ends a staging that is under way; what it leads to counts no more. */
  cancel(appGuid: string, taskId: string): void;
}

/** The stager of each side. */
export class Stagers {
  constructor(private readonly stagers: Record<Backend, AppStager>) {}

  /** The one that stages the app. */
  of(app: Pick<App, 'diego'>): AppStager {
    return this.stagers[backendOf(app)];
  }
}
