import { expect } from 'chai';
import type { ConfigError } from '../../lib/config/load.js';
import { completeRouterConfig, loadRouterConfig, natsServers, takesSegment } from '../../lib/router/config.js';

describe('the router’s configuration', () => {
  it('is complete in the sample file, whose values are the defaults', () => {
    const sample = loadRouterConfig('config/router.yml');
    expect(sample).to.deep.equal(completeRouterConfig({ nats_servers: ['nats://127.0.0.1:4222'] }));
  });

  it('takes the NATS servers in upstream’s form, with credentials of any characters', () => {
    const config = completeRouterConfig({
      nats: [
        { host: '10.0.0.1', user: 'n', pass: 'p@ss/word' },
        { host: '10.0.0.2', port: 4333 },
      ],
    });
    expect(natsServers(config)).to.deep.equal(['nats://n:p%40ss%2Fword@10.0.0.1:4222', 'nats://10.0.0.2:4333']);
  });

  it('takes upstream’s durations', () => {
    const config = completeRouterConfig({
      nats_servers: ['n'],
      droplet_stale_threshold: '2m',
      endpoint_timeout: '900s',
    });
    expect(config).to.include({ droplet_stale_threshold: 120, endpoint_timeout: 900 });
  });

  it('names every key that is wrong', () => {
    const faults = (config: object) => {
      try {
        completeRouterConfig(config);
      } catch (error) {
        return (error as ConfigError).problems.join('; ');
      }
      throw new Error('was accepted');
    };
    expect(faults({})).to.contain('nats_servers: missing key');
    expect(faults({ nats_servers: ['n'], port: 70_000, status: { port: 1 } })).to.match(
      /port: .*status\.user: missing/,
    );
    expect(faults({ nats_servers: ['n'], prune_stale_droplets_interval: 0 })).to.contain('more than 0');
  });

  it('decides which isolation segments are taken', () => {
    const taken = (mode: 'all' | 'segments' | 'shared-and-segments') => {
      const config = completeRouterConfig({
        nats_servers: ['n'],
        routing_table_sharding_mode: mode,
        isolation_segments: ['a'],
      });
      return ['', 'a', 'b'].filter((segment) => takesSegment(config, segment));
    };
    expect(taken('all')).to.deep.equal(['', 'a', 'b']);
    expect(taken('segments')).to.deep.equal(['a']);
    expect(taken('shared-and-segments')).to.deep.equal(['', 'a']);
  });
});
