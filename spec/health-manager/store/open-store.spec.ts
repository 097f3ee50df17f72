import { expect } from 'chai';
import { healthManagerConfigSchema } from '../../../lib/health-manager/config.js';
import { openStore } from '../../../lib/health-manager/store/open-store.js';
import { silentLogger } from '../../../lib/logging/logger.js';

const config = healthManagerConfigSchema.parse({
  nats: [{ host: '127.0.0.1' }],
  cc_base_url: 'http://127.0.0.1:1',
  cc_auth_user: 'bulk',
  api_server_username: 'api',
  api_server_password: 'secret',
});

describe('the clock of a store in memory', () => {
  const { now } = Date;

  afterEach(() => {
    Date.now = now;
  });

  it('goes on when the machine’s is set back or forth', async () => {
    const { store } = openStore(config, silentLogger);
    const begun = now() / 1000;
    for (const hours of [-1, 1]) {
      Date.now = () => now() + hours * 3_600_000;
      expect((await store.now()) - begun).to.be.within(-2, 10);
    }
  });
});
