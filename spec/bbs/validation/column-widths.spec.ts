import { expect } from 'chai';
import { ActualLRP, DesiredLRP, Task } from '../../../lib/bbs/messages/models.js';
import { fitsActualLrp, fitsDesiredLrp, fitsDomain, fitsTask } from '../../../lib/bbs/validation/column-widths.js';

const long = 'x'.repeat(256);

describe('widths of columns', () => {
  it('let rows of usual sizes in', () => {
    expect(fitsDesiredLrp(DesiredLRP.create({ processGuid: 'x'.repeat(255), rootFs: 'y'.repeat(1024) }))).to.equal(
      true,
    );
    expect(fitsActualLrp(ActualLRP.create())).to.equal(true);
    expect(fitsTask(Task.create({ taskGuid: 't' }))).to.equal(true);
  });

  it('count characters, not bytes or halves of them', () => {
    expect(fitsDomain('é'.repeat(255))).to.equal(true);
    expect(fitsDomain('😀'.repeat(255))).to.equal(true);
    expect(fitsDomain('😀'.repeat(256))).to.equal(false);
  });

  it('keep out the character NUL', () => {
    expect(fitsDomain('a\0')).to.equal(false);
    for (const field of ['processGuid', 'domain', 'logGuid', 'rootFs', 'annotation']) {
      expect(fitsDesiredLrp(DesiredLRP.create({ [field]: 'a\0' })), field).to.equal(false);
    }
  });

  it('keep out what is too long', () => {
    expect(fitsDomain(long)).to.equal(false);
    for (const field of ['processGuid', 'domain', 'logGuid']) {
      expect(fitsDesiredLrp(DesiredLRP.create({ [field]: long })), field).to.equal(false);
    }
    expect(fitsDesiredLrp(DesiredLRP.create({ rootFs: 'y'.repeat(1025) }))).to.equal(false);
    expect(fitsActualLrp(ActualLRP.create({ availabilityZone: long }))).to.equal(false);
    expect(fitsTask(Task.create({ cellId: long }))).to.equal(false);
  });
});
