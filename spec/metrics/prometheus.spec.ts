import { expect } from 'chai';
import { Metrics } from '../../lib/metrics/metrics.js';
import { prometheusText } from '../../lib/metrics/prometheus.js';

describe('figures in the text form of Prometheus', () => {
  it('are named as its users expect, those of one name together', () => {
    const metrics = new Metrics();
    metrics.set('LRPsRunning', 3);
    metrics.set('Domain.cf-apps', 1);
    metrics.add('TasksStarted', 1, { 'cell-id': 'cell-1' });
    metrics.add('RequestCount', 2);
    metrics.add('ConvergenceLRPRuns', 1);
    metrics.add('TasksStarted', 2, { 'cell-id': 'a"\\\nb' });
    expect(prometheusText('bbs', metrics)).to.equal(
      [
        '# TYPE bbs_lrps_running gauge\nbbs_lrps_running 3\n',
        '# TYPE bbs_domain_cf_apps gauge\nbbs_domain_cf_apps 1\n',
        '# TYPE bbs_tasks_started_total counter\n',
        'bbs_tasks_started_total{cell_id="cell-1"} 1\nbbs_tasks_started_total{cell_id="a___b"} 2\n',
        '# TYPE bbs_request_count_total counter\nbbs_request_count_total 2\n',
        '# TYPE bbs_convergence_lrp_runs_total counter\nbbs_convergence_lrp_runs_total 1\n',
      ].join(''),
    );
  });

  it('of a counter that did not move are not there', () => {
    const metrics = new Metrics();
    metrics.add('RequestCount', 0);
    expect(prometheusText('bbs', metrics)).to.equal('');
  });
});
