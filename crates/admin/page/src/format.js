// Numbers and times for people.

export function count(n) {
  return Math.round(n).toLocaleString("en");
}

export function rate(n) {
  if (n === undefined || n === null) return "–";
  if (n === 0) return "0/s";
  if (n < 10) return `${n.toFixed(1)}/s`;
  return `${count(n)}/s`;
}

export function bytes(n) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024 || unit === "GiB") return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1024;
  }
}

export function span(seconds) {
  if (seconds === undefined || seconds === null) return "–";
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.round((seconds % 86400) / 3600)} h`;
}

export function ms(n) {
  if (n === undefined || n === null) return "–";
  return n < 1 ? `${Math.round(n * 1000)} µs` : n < 1000 ? `${n < 10 ? n.toFixed(1) : Math.round(n)} ms` : span(n / 1000);
}

export function clock(atMs) {
  return new Date(atMs).toLocaleTimeString("en-GB");
}

// With the day if it is another one.
export function when(atMs) {
  const at = new Date(atMs);
  const today = at.toDateString() === new Date().toDateString();
  return today ? clock(atMs) : `${at.toISOString().slice(0, 10)} ${clock(atMs)}`;
}
