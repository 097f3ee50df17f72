import { expect } from 'chai';
import { type Caller, refusal } from '../../../support/board/caller.js';

/** docs/protocol/bbs.md §5 */
export function itKeepsDomains(caller: () => Caller): void {
  describe('domains', () => {
    const upsert = (domain: string, ttl: number) => caller().call('UpsertDomain', { domain, ttl });
    const listed = async (domain: string) => (await caller().call('Domains')).domains.includes(domain);

    it('must have a name, which fits its column', async () => {
      expect(await refusal(upsert('', 1))).to.equal('InvalidRequest: Invalid field: domain');
      expect(await refusal(upsert('a'.repeat(256), 1))).to.equal('InvalidRequest: the request received is invalid');
      await upsert('é'.repeat(255), 1);
    });

    it('are fresh for as long as was said', async () => {
      await upsert('short', 2);
      expect(await listed('short')).to.equal(true);
      caller().board.advance(3);
      expect(await listed('short')).to.equal(false);
    });

    it('are fresh for ever with a time of 0, until another one is said', async () => {
      await upsert('long', 0);
      await upsert('long', 0);
      caller().board.advance(365 * 86_400);
      expect(await listed('long')).to.equal(true);
      await upsert('long', 1);
      caller().board.advance(2);
      expect(await listed('long')).to.equal(false);
    });
  });
}
