import { domainExpiry, freshDomains } from '../decisions/domains.js';
import { type BbsError, invalidRequest } from '../errors.js';
import { fitsDomain } from '../validation/column-widths.js';
import type { Board } from './board.js';

/** The calls about domains (docs/protocol/bbs.md §5), carried out. */
export class DomainCalls {
  constructor(private readonly board: Board) {}

  list(): string[] {
    return [...freshDomains(this.board.image.domains, this.board.now())];
  }

  async upsert(domain: string, ttlSeconds: number): Promise<BbsError | undefined> {
    if (!fitsDomain(domain)) return invalidRequest;
    await this.#set(domain, () => domainExpiry(ttlSeconds, this.board.now()));
    return undefined;
  }

  /** Deletes those that are still as expired as they were seen. */
  async prune(expired: readonly string[], isExpired: (expiresAt: bigint) => boolean): Promise<void> {
    await Promise.all(
      expired.map((domain) => this.#set(domain, (before) => (isExpired(before ?? 0n) ? undefined : before))),
    );
  }

  #set(domain: string, decide: (before: bigint | undefined) => bigint | undefined): Promise<void> {
    const { board } = this;
    return board.hold([`domain/${domain}`], async () => {
      const before = board.image.domains.get(domain);
      const expiresAt = decide(before);
      if (expiresAt === before) return;
      await board.commit([{ table: 'domains', domain, expiresAt }], ({ domains }) => {
        if (expiresAt === undefined) domains.delete(domain);
        else domains.set(domain, expiresAt);
      });
    });
  }
}
