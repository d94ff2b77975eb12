"""A model on paper of the CUDA kernels of weighted_pool: how long they take, and which limit rules. Needs no GPU.

    python tests/benchmarks/speed/cuda_model.py
    python tests/benchmarks/speed/cuda_model.py --gpu H100 --shapes 200,2,600,32 --selected 0.1 0.2

A warp goes round between memory, L2 and instructions, in whose queues it meets the other warps of its multiprocessor,
and waits for latencies. Mean value analysis of that closed network gives the time of a turn. The warps of a block do
not wait for each other, hits are selected at random, caches are cold, and what is read twice is in L2 the second time.

Counted in the machine code (nvcc 13.0, sm_90, float32, aligned rows of 32 features): registers, instructions, waits for
one load after the other, size of loads and stores. Estimated: that other types and sizes have the same, and DEPENDENT
cycles for each instruction; shuffles, special functions and hits in L1 are not told apart.

us: the model, the merging of parts included. memory, L2, issue, latency us: what each limit alone would allow; the
largest rules. least MB: what has to move. L2 MB: what L2 is asked for. share: least MB per us, of a copy's bandwidth.
"""

import argparse
import math
from dataclasses import dataclass

REGISTERS, THREADS, BLOCKS = 2**16, 2048, 32  # of a multiprocessor: CUDA programming guide, 8.0 and 9.0 alike
REGISTER_UNIT, SHARED_UNIT = 256, 128  # registers of a warp and bytes of a block are handed out in these: same
RESERVED = 1024  # bytes of shared memory that the system takes for each block: same
WARP, SCHEDULERS = 32, 4  # schedulers of a multiprocessor; each issues an instruction of a warp per cycle
DEPENDENT = 4  # cycles until a sum can be used (arXiv 1804.06826); each instruction is taken to need the one before
PORT = 64  # bytes per cycle from L2 to a multiprocessor (NVIDIA, Inside the Ampere architecture, GTC 2020)
COPY = 0.85  # of the bandwidth on paper: copies on A100 and H100 PCIe reach 1.73 and 1.70 of 2.04 TB/s (gpu-benches)
GROWTH = 250e-9  # s, what full load adds to the latency of memory: makes `turn` follow the reads of gpu-benches
BLOCK = 200e-9  # s, start and end of a block: a warp with one read takes that much longer than the read (gpu-benches)
VALID = 0.95  # share of hits that are not padding, as in ops.py
PACKET = 4  # features per lane, neighbouring logits per lane: kPacket
BATCH = 4  # rows of features that a group of lanes has on their way, tracks whose extrema are looked through: kBatch
ENOUGH, PART = 256, 2048  # blocks from which on a row has one, hits of a part at least: kEnoughBlocks, kMinPart
FLOAT, INT = 4, 4  # bytes of the arithmetic and of an index


@dataclass(frozen=True)
class Gpu:
    """Data sheets (SXM); latencies, L2, start of a kernel: github.com/te42kyfo/gpu-benches (H100: PCIe or H200)."""

    multiprocessors: int
    bandwidth: float  # bytes/s
    l2_bandwidth: float  # bytes/s
    shared: int  # bytes per multiprocessor
    clock: float  # Hz
    latency: float  # s, of idle memory
    l2_latency: float  # s
    start: float  # s, of a kernel: an almost empty one in a CUDA graph, less a read from L2


GPUS = {
    "A100": Gpu(108, 2.039e12, 5.4e12, 164 * 1024, 1.41e9, 405e-9, 150e-9, 1.2e-6),
    "H100": Gpu(132, 3.35e12, 9.7e12, 228 * 1024, 1.7e9, 370e-9, 151e-9, 2.0e-6),
    "H200": Gpu(132, 4.8e12, 9.7e12, 228 * 1024, 1.7e9, 370e-9, 151e-9, 2.0e-6),
}


@dataclass(frozen=True)
class Kernel:
    """What the code of a kernel sets. Numbers without a unit are instructions of a warp."""

    name: str
    registers: int  # float32: cuda_registers.py
    shared: int  # bytes for each warp: cuda_registers.py
    block: int  # for a block, whatever it finds: mean over the warps
    step: int  # for a step over logits of which none is selected; merge: over BATCH parts
    found: int = 0  # more for one with a selected logit; for each 32 logits with one
    hit: int = 0
    rows: int = 0  # for BATCH rows of features (backward_features: one of gradients), new extrema in some lane included
    logits: int = 0  # of a lane and step, neighbours: kPacket; in backward_features of as many tracks: kLogits
    ahead: bool = False  # whether those of the next step are on their way meanwhile
    per_warp: int = 0  # hits of a row before the warps are doubled, at most 8: kHitsPerWarp; tracks: kTracksPerWarp
    capacity: int = 0  # of a warp's list
    find: int = 0  # for a pass over the tracks
    turn: int = 0  # for 4 hits of a group; for a hit; for a hit and the tracks of a warp, selected or not
    slot: int = 0
    around: int = 0
    extreme: int = 0  # to find the extrema of BATCH tracks; for 32 columns of them; to add those of a hit
    columns: int = 0
    extrema: int = 0


FORWARD = Kernel(
    "forward", registers=64, shared=2560, block=880, step=47, found=84, hit=21, rows=342, logits=PACKET, ahead=True,
    per_warp=256, capacity=256,
)  # fmt: skip
MERGE = Kernel("merge", registers=56, shared=0, block=172, step=305)
LOGITS = Kernel(
    "backward_logits", registers=64, shared=4800, block=460, step=59, found=77, hit=30, rows=231, logits=PACKET,
    ahead=True, per_warp=256, capacity=400,
)  # fmt: skip
FEATURES = Kernel(
    "backward_features", registers=64, shared=4480, block=110, step=120, hit=25, rows=49, logits=8, per_warp=8, find=96,
    turn=134, slot=22, around=17, extreme=101, columns=79, extrema=41,
)  # fmt: skip
KERNELS = (FORWARD, LOGITS, FEATURES)


@dataclass(frozen=True)
class Case:
    """A call: B, N, M, D, the share of the hits that a track selects, bytes of a logit and of a feature."""

    shape: tuple[int, int, int, int]
    share: float
    size: int = 4

    @property
    def union(self) -> float:
        """Hits that any track selects, of all events."""
        events, tracks, hits, _ = self.shape
        return events * hits * VALID * (1 - (1 - self.share / VALID) ** tracks)

    def some(self, hits: int) -> float:
        """Probability that some of so many hits are selected."""
        return 1 - (1 - self.share) ** hits


CASES = [((200, 2, 600, 32), 0.1), ((8, 64, 3000, 64), 0.1), ((1, 2000, 60000, 32), 0.01), ((1, 2, 60000, 32), 0.1)]


@dataclass
class Work:
    """What a launch does."""

    blocks: int
    warps: int  # of a block
    instructions: float  # of a warp
    waits: float  # of a warp for memory
    l2_waits: float
    least: float  # bytes
    l2: float
    hidden: float = 0  # waits for memory with a step meanwhile
    found: float = 0  # probability that a step finds something
    parts: int = 1  # whose results are to be merged


def power_of_2(wanted: int, most: int) -> int:
    """The smallest power of 2 that is at least `wanted`, at most `most` (a power of 2)."""
    return min(most, 2 ** math.ceil(math.log2(max(wanted, 1))))


def blocks_at_once(kernel: Kernel, gpu: Gpu, warps: int) -> int:
    """Blocks that a multiprocessor holds at once."""
    registers = warps * -(-kernel.registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    shared = -(-(kernel.shared * warps + RESERVED) // SHARED_UNIT) * SHARED_UNIT
    return min(REGISTERS // registers, gpu.shared // shared, THREADS // (WARP * warps), BLOCKS)


def least_bytes(kernel: Kernel, case: Case) -> float:
    """Bytes of every input that matters once and of every output once: that of cuda_bandwidth.py, expected."""
    events, tracks, hits, width = case.shape
    rows, row = events * tracks, width * case.size
    logits, features, sums, index = rows * hits * case.size, events * hits * row, rows * FLOAT, rows * 2 * width * INT
    scores = logits + events * hits
    if kernel.name == "forward":
        return scores + case.union * row + rows * 4 * row + index
    if kernel.name == "backward_logits":
        return scores + case.union * row + rows * 2 * row + sums + logits
    return scores + rows * 4 * row + index + sums + features


def row_work(kernel: Kernel, case: Case) -> Work:
    """A block for each part of a row of logits (and tile of features): forward and backward_logits."""
    events, tracks, hits, width = case.shape
    tiles, rows, row = -(-width // (WARP * PACKET)), events * tracks, width * case.size
    forward = kernel.name == "forward"
    blocks = rows * tiles if forward else rows
    parts = 1 if blocks >= ENOUGH else min(-(-ENOUGH // blocks), max(1, hits // PART))
    warps = power_of_2(-(-(hits // parts) // kernel.per_warp), 8)
    groups = WARP // power_of_2(-(-width // PACKET), WARP)
    per_step, mine = WARP * kernel.logits, hits / parts / warps
    steps, found, selected = math.ceil(mine / per_step), case.some(per_step), mine * case.share
    fills = max(1, math.ceil(selected / (kernel.capacity - per_step)))
    gathers = math.ceil(selected / (BATCH * groups)) * case.some(mine) * (1 if forward else tiles)
    first = case.union / max(rows * hits * case.share, 1e-9)  # of the rows that are gathered, not in L2 yet
    missed = 1 - (1 - min(first, 1)) ** (BATCH * groups)
    instructions = kernel.block + steps * (kernel.step + found * kernel.found) + gathers * kernel.rows
    instructions += steps * per_step / WARP * case.some(WARP) * kernel.hit
    waits = steps + fills - 1 + gathers * missed + (not forward) * 2  # sums, then gradients, come before the logits
    hidden = max(0, steps - fills) if kernel.ahead else 0
    l2_waits = steps * found + gathers * (1 - missed) + (not forward) * fills * tiles  # validity, rows, gradients
    least, again = least_bytes(kernel, case), (blocks / rows - 1) * case.size  # logits for the other tiles
    asked = least + rows * hits * (again + case.some(WARP) + case.share * row) - case.union * row
    return Work(blocks * parts, warps, instructions, waits, l2_waits, least, asked, hidden, found, forward * parts)


def merge_work(case: Case, parts: int) -> Work:
    """A thread for each row and column, which goes through the parts."""
    events, tracks, _, width = case.shape
    rows, steps = events * tracks, math.ceil(parts / BATCH)
    results = rows * parts * (5 * width + 1) * FLOAT
    return Work(-(-rows * width // 128), 4, MERGE.block + steps * MERGE.step, 0, steps, 0, results)


def most_of(groups: int, run: int, share: float) -> float:
    """Expected number of tracks, of `run`, that select a hit, for the one of `groups` hits with the most."""
    below, total = 0.0, 0.0
    for k in range(run):
        below += math.comb(run, k) * share**k * (1 - share) ** (run - k)
        total += 1 - min(below, 1) ** groups
    return total


def feature_work(kernel: Kernel, case: Case) -> Work:
    """A block for each 32 hits (and tile of features): backward_features."""
    events, tracks, hits, width = case.shape
    tiles, rows, row = -(-width // (WARP * PACKET)), events * tracks, width * case.size
    warps = power_of_2(-(-tracks // kernel.per_warp), 8)
    run = min(max(-(-tracks // warps), 1), 32)
    passes, hit_tiles = math.ceil(tracks / (warps * run)), -(-hits // WARP)
    groups = WARP // power_of_2(-(-width // PACKET), WARP)
    mine, slots = tracks / warps, math.ceil(WARP / (warps * groups))  # tracks to find, hits to add, of a warp
    turns, columns = math.ceil(slots / 4), math.ceil(min(width, WARP * PACKET) / WARP)
    steps, seen = max(passes, math.ceil(mine / kernel.logits)), mine * case.some(WARP)
    batches = passes * math.ceil(seen / passes / BATCH)
    adds = slots * passes * warps * most_of(groups, run, case.share)
    extreme = 1 - (1 - 1 / max(hits * case.share, 1)) ** (2 * width)  # probability that a selected hit is an extremum
    any_extreme = 1 - (1 - extreme) ** groups
    instructions = kernel.block + turns * kernel.turn + slots * kernel.slot + passes * kernel.find
    instructions += steps * kernel.step + seen * kernel.hit + batches * (kernel.extreme + columns * kernel.columns)
    instructions += slots * passes * warps * kernel.around + adds * (kernel.rows + any_extreme * kernel.extrema)
    l2_waits = passes + columns * batches + adds * (1 + any_extreme)  # sums, gradients
    least, extrema = least_bytes(kernel, case), 2 * width * INT
    asked = least + (tiles - 1) * rows * hits * case.size
    asked += rows * hit_tiles * case.some(WARP) * (tiles * 32 + extrema)  # 32: the sector of a sum
    asked += rows * hits * case.share * (2 * row + extreme * (2 * row + extrema))
    return Work(events * hit_tiles * tiles, warps, instructions, 1 + steps, l2_waits, least, asked)  # 1: validity


@dataclass
class Prediction:
    """Times in seconds; blocks of a multiprocessor at once."""

    work: Work
    seconds: float
    limits: dict[str, float]
    at_once: int


def turn(delay: float, demands: list[float], growth: float, customers: int) -> float:
    """Seconds of a turn of a customer: mean value analysis of a delay, to which full load of the first server adds."""
    queues, load, total = [0.0] * len(demands), 0.0, 0.0
    for number in range(1, customers + 1):
        times = [demand * (1 + queue) for demand, queue in zip(demands, queues, strict=True)]
        total = delay + growth * load + sum(times)
        queues, load = [number * time / total for time in times], number * demands[0] / total
    return total


def launch(kernel: Kernel, gpu: Gpu, work: Work) -> Prediction:
    """Time of a launch, and what each limit alone would allow."""
    at_once, active = blocks_at_once(kernel, gpu, work.warps), min(work.blocks, gpu.multiprocessors)
    busiest = -(-work.blocks // gpu.multiprocessors)  # blocks of a multiprocessor: `at_once` at a time, then the rest
    full, rest = divmod(busiest, at_once)
    ports = PORT * gpu.clock * active
    limits = {
        "memory": work.least / min(COPY * gpu.bandwidth, ports),
        "L2": work.l2 / min(gpu.l2_bandwidth, ports),
        "issue": busiest * work.warps * work.instructions / (SCHEDULERS * gpu.clock),
    }
    of_warp, cycle = active / (work.blocks * work.warps), DEPENDENT / gpu.clock  # of what a multiprocessor does
    demands = [limits["memory"] * of_warp, limits["L2"] * of_warp, limits["issue"] / (busiest * work.warps)]
    delay = BLOCK + work.instructions * cycle + work.waits * gpu.latency + work.l2_waits * gpu.l2_latency
    step, more = kernel.step * cycle, kernel.found * cycle + gpu.l2_latency  # while the next logits are on their way
    for share, meanwhile in ((1 - work.found, step), (work.found, step + more)):
        delay -= work.hidden * share * min(gpu.latency, meanwhile)
    turns = [at_once] * full + [rest] * (rest > 0)
    times = {blocks: turn(delay, demands, work.waits * GROWTH, blocks * work.warps) for blocks in set(turns)}
    seconds = gpu.start + sum(times[blocks] for blocks in turns)
    limits["latency"] = gpu.start + len(turns) * (delay + sum(demands))
    return Prediction(work, seconds, limits, at_once)


def predict(kernel: Kernel, gpu: Gpu, case: Case) -> Prediction:
    """Time of a kernel, and of the one that merges parts after it."""
    work = (feature_work if kernel.name == "backward_features" else row_work)(kernel, case)
    found = launch(kernel, gpu, work)
    if work.parts > 1:
        merge = launch(MERGE, gpu, merge_work(case, work.parts))
        found.seconds += merge.seconds
        found.limits = {name: limit + merge.limits[name] for name, limit in found.limits.items()}
    return found


def markdown(kernel: Kernel, gpus: list[str], cases: list[Case]) -> str:
    """The table of a kernel."""
    titles = ["B, N, M, D", "selected", "dtype", "GPU", "blocks", "warps", "at once", "least MB", "L2 MB", "us"]
    titles += ["memory us", "L2 us", "issue us", "latency us", "rules", "share"]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for case in cases:
        for name in gpus:
            found = predict(kernel, GPUS[name], case)
            work, limits, copy = found.work, found.limits, COPY * GPUS[name].bandwidth
            cells = [str(case.shape).strip("()"), f"{case.share:.3g}", {4: "float32", 2: "bfloat16"}[case.size], name]
            cells += [str(number) for number in (work.blocks, work.warps, found.at_once)]
            cells += [f"{1e-6 * work.least:.1f}", f"{1e-6 * work.l2:.1f}", f"{1e6 * found.seconds:.1f}"]
            cells += [f"{1e6 * seconds:.1f}" for seconds in limits.values()]
            cells += [max(limits, key=lambda limit: limits[limit]), f"{work.least / found.seconds / copy:.2f}"]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Prints a table for each kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", nargs="+", choices=list(GPUS), default=list(GPUS))
    parser.add_argument("--shapes", nargs="+", metavar="B,N,M,D")
    parser.add_argument("--selected", nargs="+", type=float, default=[0.1], help="with --shapes: shares of the hits")
    options = parser.parse_args()
    pairs = [(tuple(map(int, text.split(","))), share) for text in options.shapes or [] for share in options.selected]
    cases = [Case(shape, share, size) for shape, share in pairs or CASES for size in (4, 2)]
    for kernel in KERNELS:
        print(f"{kernel.name}\n\n{markdown(kernel, options.gpu, cases)}\n")


if __name__ == "__main__":
    main()
