import type { Credentials } from '../http/url.js';

/** Where this Cloud Controller answers, once it listens. */
export interface UrlsOptions {
  protocol: 'http' | 'https';
  /** `host:port` that cells reach. */
  address: string;
  /** `host[:port]` as seen from outside. @default address */
  externalDomain: string | undefined;
  user: string;
  password: string;
}

/** URLs that agents get, with the credentials of the blob endpoints in them (docs/protocol/legacy-cc.md §5.1). */
export class Urls {
  /** `host:port` that cells reach. */
  readonly address: string;
  private readonly plain: string;
  private readonly inner: string;
  private readonly outer: string;

  constructor({ protocol, address, externalDomain, user, password }: UrlsOptions) {
    this.address = address;
    const userinfo = userinfoOf({ user, password });
    this.plain = `http://${address}`;
    this.inner = `http://${userinfo}@${address}`;
    this.outer = externalDomain === undefined ? this.inner : `${protocol}://${userinfo}@${externalDomain}`;
  }

  package(appGuid: string): string {
    return `${this.inner}/staging/apps/${appGuid}`;
  }

  dropletUpload(appGuid: string): string {
    return `${this.inner}/staging/droplets/${appGuid}/upload`;
  }

  dropletDownload(appGuid: string): string {
    return `${this.inner}/staging/droplets/${appGuid}/download`;
  }

  buildpackCacheUpload(appGuid: string): string {
    return `${this.inner}/staging/buildpack_cache/${appGuid}/upload`;
  }

  buildpackCacheDownload(appGuid: string): string {
    return `${this.inner}/staging/buildpack_cache/${appGuid}/download`;
  }

  buildpackDownload(buildpackGuid: string): string {
    return `${this.inner}/v2/buildpacks/${buildpackGuid}/download`;
  }

  /** For Diego, which has no credentials: whoever knows the checksum may have it. */
  dropletPermalink(appGuid: string, sha1: string): string {
    return `${this.plain}/internal/v2/droplets/${appGuid}/${sha1}/download`;
  }

  /** An address of the internal API with its credentials. */
  internal(path: string, credentials: Credentials): string {
    return `http://${userinfoOf(credentials)}@${this.address}${path}`;
  }

  /** Unlike the others it is seen from outside. */
  stagingJob(jobGuid: string): string {
    return `${this.outer}/staging/jobs/${jobGuid}`;
  }
}

function userinfoOf({ user, password }: Credentials): string {
  return `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
}
