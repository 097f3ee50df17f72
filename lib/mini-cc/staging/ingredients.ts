import type { StagingLinks } from '../agents/app-messages.js';
import type { App } from '../apps/app.js';
import type { Blobstore } from '../blobs/blobstore.js';
import { blobNames } from '../blobs/names.js';
import { ApiError } from '../errors.js';
import { type BuildpackStore, buildpackKey } from '../store/buildpack-store.js';
import type { Urls } from '../urls.js';

export interface StagingIngredientsOptions {
  buildpacks: BuildpackStore;
  blobs: Blobstore;
  urls: Urls;
  disableCustomBuildpacks: boolean;
}

/** What a staging is made of, whoever stages. */
export class StagingIngredients {
  constructor(private readonly options: StagingIngredientsOptions) {}

  /**
   * Refuses an app that cannot be staged, before anything is changed for it.
   * @throws ApiError AppPackageInvalid, NoBuildpacksFound, AppInvalid
   */
  check(app: App): void {
    const { buildpacks, disableCustomBuildpacks } = this.options;
    if (app.package_hash === null) throw new ApiError('AppPackageInvalid', 'bits have not been uploaded');
    const usable = buildpacks.listUsable();
    const isCustom = app.buildpack !== null && !usable.some(({ name }) => name === app.buildpack);
    if (isCustom && disableCustomBuildpacks) throw new ApiError('AppInvalid', 'custom buildpacks are disabled');
    if (isCustom && !isGitUrl(app.buildpack!)) {
      throw new ApiError('AppInvalid', `buildpack ${app.buildpack} is not valid public url or a known buildpack name`);
    }
    if (!isCustom && usable.length === 0) throw new ApiError('NoBuildpacksFound');
  }

  /** Where the stager finds and leaves things. */
  async links(app: App): Promise<StagingLinks> {
    const { blobs, urls } = this.options;
    const hasCache = (await blobs.find(blobNames.buildpackCache(app.guid))) !== undefined;
    return {
      package: urls.package(app.guid),
      dropletUpload: urls.dropletUpload(app.guid),
      cacheDownload: hasCache ? urls.buildpackCacheDownload(app.guid) : null,
      cacheUpload: urls.buildpackCacheUpload(app.guid),
      buildpacks: this.buildpackLinks(),
    };
  }

  /** The admin buildpacks as stagers get them. */
  buildpackLinks(): StagingLinks['buildpacks'] {
    const { buildpacks, urls } = this.options;
    return buildpacks.listUsable().map((buildpack) => ({
      name: buildpack.name,
      key: buildpackKey(buildpack),
      url: urls.buildpackDownload(buildpack.guid),
    }));
  }
}

function isGitUrl(text: string): boolean {
  return /^(https?|git|ssh|file):\/\/\S+$/.test(text) || /^[\w.-]+@[\w.-]+:\S+$/.test(text);
}
