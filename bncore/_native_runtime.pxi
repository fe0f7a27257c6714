# Threads, instruction sets and the pool: what there is and what is in force.

cdef extern from "bncore.h" nogil:
    int bnc_runtime_start() noexcept
    int bnc_thread_limit() noexcept
    void bnc_set_cpu_quota(int) noexcept
    void bnc_force_threads(int) noexcept
    int bnc_has_openmp() noexcept
    const char* bnc_team_name() noexcept
    ctypedef struct bnc_thread_statistics:
        uint64_t together, alone, stalled
    bnc_thread_statistics bnc_threads_read() noexcept
    ctypedef struct bnc_machine:
        int64_t l1, l2, llc
        int llc_cpus
    const bnc_machine* bnc_this_machine() noexcept
    int bnc_isa_count() noexcept
    const char* bnc_isa_name(int) noexcept
    int bnc_isa_available(int) noexcept
    int bnc_isa_select(int) noexcept
    size_t bnc_pool_trim() noexcept
    void bnc_pool_set_bound(size_t) noexcept
    ctypedef struct bnc_pool_statistics:
        size_t idle_bytes, live_bytes, bound_bytes
        uint64_t hits, misses, evicted
    bnc_pool_statistics bnc_pool_read() noexcept
    void bnc_set_winograd(int) noexcept
    int bnc_winograd() noexcept

if bnc_runtime_start() != 0:
    raise MemoryError("could not register the fork handlers")


def isa_names():
    """All instruction sets this package knows, in increasing order."""
    return tuple(bnc_isa_name(i).decode() for i in range(bnc_isa_count()))


def available_isas():
    """Those that this build has and this machine can run."""
    return tuple(bnc_isa_name(i).decode() for i in range(bnc_isa_count()) if bnc_isa_available(i))


def select_isa(str name):
    """Uses the kernels of that instruction set from now on; not while operations run elsewhere."""
    for i in range(bnc_isa_count()):
        if bnc_isa_name(i).decode() == name:
            if bnc_isa_select(i) == 0:
                return
    raise ValueError(f"instruction set must be one of {available_isas()}, got {name!r}")


def set_winograd(int tile):
    """The largest tiles of Winograd's way that 3x3 convolutions may take: 2, 4, or 0 for none."""
    if tile not in (0, 2, 4):
        raise ValueError(f"tile must be 0, 2 or 4, got {tile}")
    bnc_set_winograd(tile)


def winograd_allowed():
    """What `set_winograd` said last."""
    return bnc_winograd()


def has_openmp():
    """Whether this build starts threads."""
    return bool(bnc_has_openmp())


def thread_limit():
    """Threads an operation may use now: what OpenMP, processor affinity and the quota allow."""
    return bnc_thread_limit()


def set_cpu_quota(int cpus):
    """Processors a control group grants (0: no limit)."""
    bnc_set_cpu_quota(cpus)


def force_threads(int threads):
    """For tests: that many threads for any work, more than processors too; 0 ends it."""
    bnc_force_threads(threads)


def caches():
    """Bytes of the caches: l1, l2 of one processor, llc (last level), which llc_cpus share."""
    return bnc_this_machine()[0]


def thread_statistics():
    """Whose threads work, and passes so far: together on several, alone as the team was not to be
    had, stalled by it."""
    return {"kind": bnc_team_name().decode(), **bnc_threads_read()}


def pool_statistics():
    """Bytes idle, in use, allowed to idle; requests served by the pool (hits) or not (misses)."""
    return bnc_pool_read()


def pool_trim():
    """Returns idle blocks to the system; the number of bytes."""
    return bnc_pool_trim()


def pool_set_bound(size_t bytes):
    """Idle bytes kept at most."""
    bnc_pool_set_bound(bytes)
