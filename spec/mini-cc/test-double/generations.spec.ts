import { expect } from 'chai';
import { incoming, outgoing } from '../../../lib/mini-cc/test-double/generations.js';

const start = {
  droplet: 'app',
  stack: 'cflinuxfs2',
  egress_network_rules: [],
  vcap_application: { application_id: 'app', name: 'shop' },
};
const start2014 = { droplet: 'app', vcap_application: { name: 'shop' } };
const staging = { app_id: 'app', stack: 'cflinuxfs2', egress_network_rules: [], start_message: start };

/** docs/protocol/legacy-cc.md: what is marked **2014** and **2016+**. */
describe('a Cloud Controller of another year', () => {
  it('of 2014 leaves fields out, and tells of updated droplets', () => {
    expect(outgoing(2014, 'dea.a.start', start)).to.deep.equal([{ subject: 'dea.a.start', data: start2014 }]);
    expect(outgoing(2014, 'staging.a.start', staging)).to.deep.equal([
      { subject: 'staging.a.start', data: { app_id: 'app', stack: 'cflinuxfs2', start_message: start2014 } },
    ]);
    for (const subject of ['buildpacks', 'droplet.updated', 'dea.stop']) {
      expect(outgoing(2014, subject, null)).to.deep.equal([{ subject, data: null }]);
    }
  });

  it('of 2015 is as the messages are, without those of before', () => {
    expect(outgoing(2015, 'dea.a.start', start)).to.deep.equal([{ subject: 'dea.a.start', data: start }]);
    expect(outgoing(2015, 'droplet.updated', {})).to.deep.equal([]);
  });

  it('of 2016 tells nobody of buildpacks, takes completions over HTTP, and lets any agent stage', () => {
    for (const subject of ['buildpacks', 'droplet.updated']) expect(outgoing(2016, subject, {})).to.deep.equal([]);
    expect(outgoing(2016, 'staging.a.start', staging)[0]!.data).to.deep.equal({ ...staging, accepts_http: true });
    expect(outgoing(2016, 'dea.a.start', start)[0]!.data).to.deep.equal(start);
    expect(incoming(2016, 'staging.advertise', { id: 'a' })).to.deep.equal([]);
    expect(incoming(2016, 'dea.advertise', { id: 'a', url: 'x' })).to.deep.equal([
      { subject: 'dea.advertise', data: { id: 'a', url: 'x' } },
      { subject: 'staging.advertise', data: { id: 'a', url: 'x' } },
    ]);
    expect(incoming(2016, 'dea.shutdown', { id: 'a' })).to.deep.equal([{ subject: 'dea.shutdown', data: { id: 'a' } }]);
  });

  it('of before 2016 does not look for the address of an agent', () => {
    for (const year of [2014, 2015] as const) {
      expect(incoming(year, 'dea.advertise', { id: 'a', url: 'x' })).to.deep.equal([
        { subject: 'dea.advertise', data: { id: 'a' } },
      ]);
      expect(incoming(year, 'dea.advertise', null)).to.deep.equal([{ subject: 'dea.advertise', data: null }]);
    }
  });

  it('is none as long as none is asked for', () => {
    const data = { id: 'a', url: 'x' };
    expect(incoming(undefined, 'dea.advertise', data)).to.deep.equal([{ subject: 'dea.advertise', data }]);
    expect(outgoing(undefined, 'droplet.updated', data)).to.deep.equal([{ subject: 'droplet.updated', data }]);
  });
});
