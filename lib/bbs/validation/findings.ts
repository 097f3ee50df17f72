/** What is wrong with a request, in the order in which it is told; empty when nothing is. */
export type Findings = readonly string[];

export function invalidField(name: string): string {
  return `Invalid field: ${name}`;
}

/** The field's finding where the claim that it is wrong holds. */
export function when(isWrong: boolean, field: string): Findings {
  return isWrong ? [invalidField(field)] : [];
}

/** Findings of a part, behind one that names the part. */
export function within(field: string, findings: Findings): Findings {
  return findings.length === 0 ? [] : [invalidField(field), ...findings];
}
