import { expect } from 'chai';
import { parseConfig } from '../../lib/config/load.js';
import { healthManagerConfigSchema, timesOf } from '../../lib/health-manager/config.js';

describe('the configuration of a health manager', () => {
  const least = {
    nats: [{ host: '127.0.0.1' }],
    cc_base_url: 'http://127.0.0.1:8181',
    cc_auth_user: 'bulk',
    api_server_username: 'api',
    api_server_password: 'secret',
  };
  const parse = (more: Record<string, unknown> = {}) =>
    parseConfig('hm9000.yml', { ...least, ...more }, healthManagerConfigSchema);

  it('needs little, and waits in heartbeats of ten seconds', () => {
    const config = parse();
    expect(timesOf(config).store).to.eql({
      heartbeatTtl: 30,
      actualFreshnessTtl: 30,
      desiredFreshnessTtl: 120,
      crashCountTtl: 1920,
    });
    expect([config.max_starts_per_second, config.version_change_hold_seconds, config.dropsonde_port]).to.eql([0, 0, 0]);
  });

  for (const [name, more, fault] of [
    ['a lock service that nobody knows', { lock_backend: 'consul' }, 'lock_backend: must be store, locket or none'],
    ['a Locket without an address', { lock_backend: 'locket' }, 'locket_address: missing key'],
    [
      'a Locket for a store of its own',
      {
        lock_backend: 'locket',
        locket_address: 'l:1',
        locket_ca_cert_file: 'ca',
        locket_client_cert_file: 'crt',
        locket_client_key_file: 'key',
      },
      'lock_backend: locket: needs store_type redis, which others can share',
    ],
    ['a store that is none', { store_type: 'etcd' }, 'store_type: must be memory or redis'],
    ['Redis without an address', { store_type: 'redis' }, 'store_urls: missing key'],
    ['no credentials of its API', { api_server_password: undefined }, 'api_server_password: missing key'],
    ['a negative number of starts', { max_starts_per_second: -1 }, 'max_starts_per_second: '],
    ['a hold that is no number', { version_change_hold_seconds: 'soon' }, 'version_change_hold_seconds: '],
    ['a word for a truth', { legacy_health_subjects: 'yes, please' }, 'legacy_health_subjects: '],
    [
      'old subjects over HTTP',
      { legacy_health_subjects: true, sender_transport: 'http', cc_internal_url: 'http://127.0.0.1:9023' },
      'legacy_health_subjects: goes over NATS; sender_transport must not be http',
    ],
    ['a back-off that shrinks', { maximum_backoff_delay_in_heartbeats: 1 }, 'maximum_backoff_delay_in_heartbeats: '],
    [
      'an interval of nothing',
      { analyzer_polling_interval_in_heartbeats: 0 },
      'analyzer_polling_interval_in_heartbeats: ',
    ],
  ] as const) {
    it(`refuses ${name}, and names the key`, () => {
      expect(() => parse(more)).to.throw(fault);
    });
  }
});
