/** Names in the blobstore: what lies where. Ids and checksums come from the database, never from a request as it is. */
export const blobNames = {
  /** The app's package, a zip. */
  package: (appGuid: string) => `packages/${appGuid}`,
  /** All droplets of an app. */
  droplets: (appGuid: string) => `droplets/${appGuid}`,
  droplet: (appGuid: string, sha1: string) => `droplets/${appGuid}/${sha1}`,
  buildpackCache: (appGuid: string) => `buildpack_caches/${appGuid}`,
  /** A buildpack's zip, under its key. */
  buildpack: (key: string) => `buildpacks/${key}`,
};
