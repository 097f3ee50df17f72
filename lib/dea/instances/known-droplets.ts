const maximumDroplets = 1_000;

/**
 * What earlier starts found in droplets, by SHA-1: the text of `staging_info.yml`. A droplet that is known need not be
 * extracted before its app's script can be written, so that both are one process. Lives as long as the agent.
 */
export class KnownDroplets {
  readonly #stagingInfos = new Map<string, string>();

  stagingInfo(sha1: string): string | undefined {
    return this.#stagingInfos.get(sha1);
  }

  remember(sha1: string, stagingInfo: string): void {
    this.#stagingInfos.set(sha1, stagingInfo);
    if (this.#stagingInfos.size <= maximumDroplets) return;
    const [oldest] = this.#stagingInfos.keys();
    this.#stagingInfos.delete(oldest!);
  }
}
