# The C core, as Cython sees it; documented in core/*.h.

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from posix.types cimport pid_t

cdef extern from "stdbool.h":
    ctypedef bint cbool "bool"

cdef extern from "status.h":
    ctypedef enum ip_status:
        IP_OK, IP_AGAIN, IP_BUSY, IP_NO_MEMORY, IP_CORRUPT, IP_SHUT_DOWN, IP_EOF, IP_BROKEN, IP_FREED, IP_EXISTS
        IP_CROWDED, IP_LEFT, IP_TOO_LONG, IP_NOT_OWNER, IP_OVERFLOW, IP_OS_ERROR, IP_HELD
        IP_POISONED, IP_RETIRED, IP_STUCK, IP_DIED

cdef extern from "word.h" nogil:
    ctypedef uint64_t ip_word
    cbool ip_get(const ip_word *word, uint64_t *payload)
    void ip_set(ip_word *word, uint64_t payload)

cdef extern from "event.h" nogil:
    ctypedef struct ip_event:
        pass
    void ip_event_notify(ip_event *event, int how_many)
    uint64_t ip_now_ns()
    uint64_t ip_ticks()

cdef extern from "lock.h" nogil:
    ctypedef struct ip_lock:
        ip_word owner
    ctypedef enum ip_patience:
        IP_NOW, IP_PATIENT, IP_BRIEFLY, IP_INHERIT
    cbool ip_lock_wait(ip_lock *lock, uint64_t deadline_ns, cbool *slept)

cdef extern from "arena.h" nogil:
    enum: IP_MEMBERS_MAX
    ctypedef struct ip_header:
        ip_lock lock
        ip_word heap_used, heap_committed
    ctypedef struct ip_arena:
        unsigned char *base
        ip_header *header
        uint64_t size, limit, heap
        int fd, life_fd
        uint32_t self, generation
        uint64_t[3] identity
    ip_status ip_arena_create(ip_arena *arena, int fd, uint64_t limit)
    ip_status ip_arena_attach(ip_arena *arena, int fd)
    void ip_arena_detach(ip_arena *arena)
    void *ip_at(const ip_arena *arena, uint64_t offset)

cdef extern from "member.h" nogil:
    ctypedef struct ip_member_info:
        uint32_t index, generation
        int phase
        pid_t pid
    ip_status ip_member_join(ip_arena *arena)
    ip_status ip_member_reserve(ip_arena *arena, int *fd, uint32_t *index)
    ip_status ip_member_claim(ip_arena *arena, uint32_t index, int fd)
    ip_status ip_member_withdraw(ip_arena *arena)
    ip_status ip_member_leave(ip_arena *arena)
    ip_status ip_member_reap(ip_arena *arena, uint32_t *buried)
    ip_status ip_member_reap_sometimes(ip_arena *arena)
    ip_status ip_member_bury_if_dead(ip_arena *arena, uint32_t index)
    ip_status ip_member_look(ip_arena *arena, uint64_t now, uint32_t *dead)
    ip_status ip_member_note_starter(ip_arena *arena, uint32_t index)
    void ip_member_announce_exit(ip_arena *arena)
    cbool ip_member_others(ip_arena *arena)
    uint32_t ip_member_incarnation(ip_arena *arena, uint32_t index)
    pid_t ip_member_pid(ip_arena *arena, uint32_t index, uint32_t generation)
    int ip_member_list(ip_arena *arena, ip_member_info *infos, int max)

cdef extern from "directory.h" nogil:
    enum: IP_QUEUE, IP_PIPE, IP_MEMORY, IP_TABLE, IP_LIST, IP_CHANNEL, IP_BARRIER, IP_PARTY
    ctypedef struct ip_object:
        pass
    ctypedef struct ip_id:
        uint32_t index, generation
    ctypedef ip_status (*ip_maker)(ip_arena *arena, ip_object *object, void *context)
    ctypedef struct ip_object_info:
        ip_id id
        int kind
        unsigned ends
        unsigned[3] holders
        cbool[3] mine
        uint64_t[3] transit
        uint64_t body
        char[201] name
    ip_status ip_object_open(ip_arena *arena, int kind, unsigned ends, unsigned hold_mask, uint64_t body_size,
                             const char *name, uint64_t name_size, ip_maker make, void *context, ip_id *id,
                             ip_object **object, cbool *created)
    ip_status ip_object_find(ip_arena *arena, ip_id id, int *kind, ip_object **object)
    ip_status ip_object_hold(ip_arena *arena, ip_id id, unsigned end, uint32_t member)
    ip_status ip_object_release(ip_arena *arena, ip_id id, unsigned end)
    ip_status ip_object_check_holders(ip_arena *arena, ip_object *object, unsigned end, cbool *held)
    ip_status ip_object_watch_holders(ip_arena *arena, ip_object *object, unsigned end, uint64_t now)
    ip_status ip_object_next(ip_arena *arena, uint32_t *index, ip_object_info *info)

cdef extern from "heap.h" nogil:
    ip_status ip_block_drop(ip_arena *arena, uint64_t at)
    ip_status ip_heap_check(ip_arena *arena)

cdef extern from "ring.h" nogil:
    uint64_t IP_INLINE_MAX
    enum: IP_PIECES_MAX
    ctypedef struct ip_ring:
        ip_lock put_lock, get_lock
        ip_event items, space, done
    ctypedef struct ip_piece:
        const void *data
        uint64_t size
    ctypedef struct ip_handle_ref:
        ip_id id
        unsigned end
    ctypedef struct ip_outgoing:
        uint8_t kind
        const void *data
        uint64_t size
        uint64_t block
        uint64_t block_sum
        const ip_piece *pieces
        unsigned n_pieces
        const ip_handle_ref *handles
        unsigned n_handles
    ctypedef struct ip_incoming:
        uint8_t kind
        unsigned char *data
        uint64_t size
        uint64_t block
        uint64_t block_sum
        unsigned n_pieces
        const ip_word *piece_sizes
        unsigned n_handles
        ip_handle_ref *handles
    ctypedef struct ip_ring_settings:
        uint64_t max_count, max_bytes
    ip_status ip_ring_make(ip_arena *arena, ip_object *object, void *settings)
    uint64_t ip_ring_body_size(int kind)
    ip_ring *ip_ring_of(ip_object *object, int kind, unsigned which)
    ip_status ip_block_fill(ip_arena *arena, const ip_piece *pieces, unsigned n, uint64_t *block, uint64_t *sum)
    ip_status ip_block_verify(ip_arena *arena, const ip_incoming *message)
    ip_status ip_ring_put(ip_arena *arena, ip_object *object, ip_ring *ring, int readers_end,
                          const ip_outgoing *messages, unsigned n, ip_patience patience, unsigned *put)
    ip_status ip_ring_take(ip_arena *arena, ip_object *object, ip_ring *ring, int writers_end, unsigned char *scratch,
                           uint64_t scratch_size, ip_patience patience, ip_incoming *messages, unsigned max,
                           unsigned *taken)
    cbool ip_ring_wait_items(ip_object *object, ip_ring *ring, int writers_end, uint64_t deadline_ns, cbool *slept)
    cbool ip_ring_wait_space(ip_object *object, ip_ring *ring, int readers_end, uint64_t size, uint64_t deadline_ns,
                            cbool *slept)
    cbool ip_ring_wait_done(ip_ring *ring, uint64_t deadline_ns, cbool *slept)
    cbool ip_ring_is_watched(const ip_ring *ring)
    void ip_ring_await_watchers(ip_arena *arena, ip_ring *ring)
    cbool ip_ring_readable(ip_object *object, ip_ring *ring, int writers_end)
    ip_status ip_ring_counts(ip_ring *ring, uint64_t *put, uint64_t *taken, uint64_t *done, uint64_t *bytes, cbool *shut)
    ip_status ip_ring_task_done(ip_ring *ring)
    ip_status ip_ring_shut_down(ip_arena *arena, ip_object *object, ip_ring *ring, cbool immediate)

cdef extern from "container.h" nogil:
    ctypedef struct ip_container:
        pass
    ctypedef struct ip_value:
        uint8_t kind
        const void *data
        uint64_t size
        const ip_handle_ref *handles
        unsigned n_handles
    ctypedef struct ip_value_out:
        void *data
        uint64_t room
        ip_handle_ref *handles
        unsigned handles_room
        uint64_t size
        unsigned n_handles
        uint8_t kind
    ctypedef struct ip_container_state:
        uint64_t count, changes, shape
    ip_status ip_container_of(ip_arena *arena, ip_object *object, ip_container **container)
    ip_status ip_container_flavour(ip_container *container, uint64_t *flavour)
    ip_status ip_container_look(ip_arena *arena, ip_container *container, ip_patience patience, ip_container_state *state)
    cbool ip_container_wait(ip_container *container, uint64_t seen, uint64_t deadline_ns, cbool *slept)
    ip_lock *ip_container_lock(ip_container *container)
    ip_status ip_gate_acquire(ip_arena *arena, ip_container *container, ip_patience patience)
    ip_status ip_gate_release(ip_arena *arena, ip_container *container)
    cbool ip_gate_mine(ip_arena *arena, ip_container *container)
    cbool ip_transaction_mine(ip_arena *arena, ip_container *container)
    cbool ip_gate_wait(ip_arena *arena, ip_container *container, uint64_t deadline_ns, cbool *slept)
    ip_status ip_transaction_begin(ip_arena *arena, uint64_t *record)
    ip_status ip_transaction_join(ip_arena *arena, uint64_t record, ip_container *container)
    ip_status ip_transaction_commit(ip_arena *arena, uint64_t record, ip_container *container)
    ip_status ip_transaction_settle(ip_arena *arena, uint64_t record, ip_container *container)
    ip_status ip_transaction_end(ip_arena *arena, uint64_t record)

cdef extern from "table.h" nogil:
    ctypedef struct ip_table:
        pass
    ctypedef struct ip_table_key:
        const void *data
        uint64_t size, hash
    ctypedef enum ip_table_when:
        IP_TABLE_ALWAYS, IP_TABLE_IF_ABSENT, IP_TABLE_IF_PRESENT, IP_TABLE_IF_EQUAL
    ctypedef enum ip_table_outcome:
        IP_TABLE_REFUSED, IP_TABLE_INSERTED, IP_TABLE_REPLACED
    ip_status ip_table_make(ip_arena *arena, ip_object *object, void *flavour)
    uint64_t ip_table_body_size()
    ip_status ip_table_of(ip_arena *arena, ip_object *object, ip_table **table)
    ip_status ip_table_set(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key,
                           const ip_value *value, ip_table_when when, const ip_value *expected, ip_table_outcome *outcome)
    ip_status ip_table_get(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key,
                           ip_value_out *out)
    ip_status ip_table_peek(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key)
    ip_status ip_table_pop(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key,
                           ip_value_out *out)
    ip_status ip_table_pop_last(ip_arena *arena, ip_table *table, ip_patience patience, ip_value_out *key,
                                ip_value_out *value)
    ip_status ip_table_clear(ip_arena *arena, ip_table *table, ip_patience patience)
    ip_status ip_table_next(ip_arena *arena, ip_table *table, ip_patience patience, uint64_t shape, uint64_t *position,
                            ip_value_out *key, ip_value_out *value)

    ip_status ip_table_next_some(ip_arena *arena, ip_table *table, ip_patience patience, uint64_t shape,
                                 uint64_t *position, ip_value_out *keys, ip_value_out *values, unsigned max, unsigned *n)

cdef extern from "list.h" nogil:
    ctypedef struct ip_list:
        pass
    ip_status ip_list_make(ip_arena *arena, ip_object *object, void *flavour)
    uint64_t ip_list_body_size()
    ip_status ip_list_of(ip_arena *arena, ip_object *object, ip_list **list)
    ip_status ip_list_get(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, ip_value_out *out)
    ip_status ip_list_set(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, const ip_value *value,
                          const ip_value *expected, cbool *done)
    ip_status ip_list_insert(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, const ip_value *value)
    ip_status ip_list_pop(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, ip_value_out *out)
    ip_status ip_list_next(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t changes, uint64_t *index,
                           ip_value_out *out)
    ip_status ip_list_next_some(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t changes, uint64_t *index,
                                ip_value_out *outs, unsigned max, unsigned *n)
    ip_status ip_list_rearrange(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t shape,
                                const uint64_t *order, uint64_t n)
    ip_status ip_list_clear(ip_arena *arena, ip_list *list, ip_patience patience)

cdef extern from "sync.h" nogil:
    ctypedef struct ip_memory:
        ip_lock lock
    ctypedef struct ip_semaphore:
        ip_word value, maximum
    ctypedef struct ip_signal:
        ip_word count
    ctypedef struct ip_memory_settings:
        uint64_t size, flavour
        const void *initial
        uint64_t initial_size
    ip_status ip_memory_make(ip_arena *arena, ip_object *object, void *settings)
    uint64_t ip_memory_body_size(uint64_t size)
    ip_status ip_memory_of(ip_arena *arena, ip_object *object, uint64_t flavour, ip_memory **memory, uint64_t *size)
    unsigned char *ip_memory_bytes(ip_memory *memory, uint64_t size)
    ip_status ip_mutex_try(ip_arena *arena, ip_memory *memory, cbool recursive, cbool check_owner, cbool *inherited)
    ip_status ip_mutex_try_briefly(ip_arena *arena, ip_memory *memory, cbool recursive)
    ip_status ip_mutex_release(ip_arena *arena, ip_memory *memory, cbool recursive)
    ip_status ip_mutex_state(ip_arena *arena, ip_memory *memory, cbool *mine, uint64_t *depth)
    void ip_semaphore_init(ip_semaphore *semaphore, uint64_t value, uint64_t maximum)
    ip_status ip_semaphore_try(ip_semaphore *semaphore)
    ip_status ip_semaphore_release(ip_semaphore *semaphore, uint64_t n)
    cbool ip_semaphore_wait(ip_semaphore *semaphore, uint64_t deadline_ns, cbool *slept)
    void ip_signal_init(ip_signal *signal)
    ip_status ip_signal_notify(ip_signal *signal, int how_many)
    cbool ip_signal_wait(ip_signal *signal, uint64_t seen, uint64_t deadline_ns, cbool *slept)
    ctypedef union ip_number:
        int64_t i
        double d
    cbool ip_number_is_float(char type)
    unsigned ip_number_size(char type)
    ip_number ip_number_load(const void *at, char type)
    void ip_number_store(void *at, char type, ip_number value)
    ip_number ip_number_add(void *at, char type, ip_number value)
    ip_number ip_number_exchange(void *at, char type, ip_number value)
    cbool ip_number_compare_exchange(void *at, char type, ip_number expected, ip_number value)

cdef extern from "watch.h" nogil:
    ctypedef struct ip_watch:
        pass
    ip_watch *ip_watch_start(ip_arena *arena, ip_object *object, ip_ring *ring, int writers_end)
    void ip_watch_stop(ip_watch *watch)
    int ip_watch_descriptor(ip_watch *watch)
    void ip_watch_sync(ip_watch *watch)

cdef extern from "fork.h" nogil:
    ip_status ip_fork_prepare(ip_arena *arena)
    void ip_fork_parent()
    ip_status ip_fork_slot(ip_arena *arena, uint32_t *slot, uint32_t *generation)

cdef extern from "parcel.h" nogil:
    enum: IP_PARCEL_WORDS, IP_PARCEL_PIECES_MAX, IP_PARCEL_HANDLES_MAX
    uint64_t ip_parcel_size(const ip_outgoing *message)

cdef extern from "party.h" nogil:
    enum: IP_NOTE_MAX, IP_CARD_MAX, IP_GUARDS_MAX
    enum: IP_PARTY_IDLE, IP_PARTY_WAITING, IP_PARTY_DONE, IP_PARTY_POKED, IP_PARTY_MET, IP_PARTY_STUCK
    enum: IP_READS, IP_WRITES, IP_SYNCS
    enum: IP_TIMED, IP_OUTSIDE, IP_CROWD, IP_JOINING, IP_LOOP, IP_STALLS
    ctypedef struct ip_party:
        ip_word bell, rung, mode, parent, stalls
    ip_status ip_party_make(ip_arena *arena, ip_object *object, void *context)
    uint64_t ip_party_body_size()
    ip_status ip_party_of(ip_arena *arena, ip_object *object, ip_party **party)
    uint64_t ip_party_name(ip_id id)
    ip_status ip_party_state(const ip_party *party, int *phase, unsigned *guard)
    cbool ip_party_wait(ip_party *party, uint64_t deadline_ns, cbool *slept)
    cbool ip_party_wait_bell(ip_party *party, uint64_t seen, uint64_t deadline_ns, cbool *slept)
    ip_status ip_party_poke(ip_arena *arena, ip_id id)
    ip_status ip_party_join(ip_arena *arena, ip_party *party, uint64_t children)
    ip_status ip_party_set_card(ip_arena *arena, ip_party *party, const void *text, uint64_t size)
    ip_status ip_party_set_note(ip_party *party, const void *text, uint64_t size)

cdef extern from "channel.h" nogil:
    enum: IP_LABEL_MAX, IP_KEEPS
    uint64_t IP_UNBOUNDED
    enum: IP_BLOCKING, IP_SLIDING, IP_DROPPING, IP_OVERWRITING
    ctypedef struct ip_label:
        pass
    ctypedef struct ip_channel:
        pass
    ctypedef struct ip_channel_settings:
        uint64_t capacity, policy
        const char *label
        uint64_t label_size
    ctypedef struct ip_channel_info:
        cbool poisoned
        cbool[2] retired
        uint64_t capacity, policy, passed, lost, buffered
        uint64_t[2] waiting
        char[65] label
    ip_status ip_label_get(const ip_label *label, char *text)
    ip_status ip_channel_make(ip_arena *arena, ip_object *object, void *settings)
    uint64_t ip_channel_body_size(uint64_t capacity)
    ip_status ip_channel_of(ip_arena *arena, ip_object *object, ip_channel **channel)
    ip_ring *ip_channel_ring(ip_channel *channel)
    ip_status ip_channel_clear(ip_arena *arena, ip_channel *channel)
    ip_status ip_channel_poison(ip_arena *arena, ip_object *object)
    ip_status ip_channel_open_for(ip_object *object, ip_channel *channel, unsigned side)
    cbool ip_channel_ready(ip_object *object, ip_channel *channel, unsigned side)
    cbool ip_channel_awaited(ip_channel *channel, unsigned side)
    ip_status ip_channel_poke_one(ip_arena *arena, ip_id id, unsigned side)
    void ip_channel_note_lost(ip_channel *channel)
    ip_status ip_channel_look(ip_arena *arena, ip_object *object, ip_channel *channel, ip_channel_info *info)

cdef extern from "barrier.h" nogil:
    enum: IP_ENROLLED_MAX
    unsigned IP_ENROLMENT
    unsigned ip_enrolment_end(uint64_t serial)
    ctypedef struct ip_barrier:
        ip_label label
    ip_status ip_barrier_make(ip_arena *arena, ip_object *object, void *settings)
    uint64_t ip_barrier_body_size()
    ip_status ip_barrier_of(ip_arena *arena, ip_object *object, ip_barrier **barrier)
    ip_status ip_barrier_enrol(ip_arena *arena, ip_object *object, uint64_t *serial)
    ip_status ip_barrier_look(ip_arena *arena, ip_object *object, uint64_t *enrolled, uint64_t *waiting, uint64_t *met)

cdef extern from "choice.h" nogil:
    ctypedef struct ip_guard:
        ip_object *object
        ip_id id
        unsigned side
        const ip_outgoing *message
        uint64_t enrolment
    ctypedef struct ip_choice:
        unsigned guard
        cbool delivered
        ip_incoming incoming
        uint32_t dead
        uint32_t woken
    ip_status ip_choice_try(ip_arena *arena, ip_party *me, ip_id my_id, const ip_guard *guards, unsigned n,
                            unsigned first, cbool offer, ip_patience patience, unsigned char *scratch, ip_choice *choice)
    ip_status ip_choice_settle(ip_arena *arena, ip_party *me, const ip_guard *guards, unsigned n, ip_patience patience,
                               unsigned char *scratch, ip_choice *choice)
    ip_status ip_choice_withdraw(ip_arena *arena, ip_party *me, const ip_guard *guards, unsigned n,
                                 ip_patience patience, unsigned char *scratch, ip_choice *choice)
    ctypedef struct ip_stuck_party:
        ip_id id
        uint64_t ticket, parent
        unsigned mode, n_guards, guards_shown
        pid_t pid
        uint64_t note_size, card_size
        char *note
        char *card
    bint ip_stuck_due(ip_arena *arena)
    ip_status ip_stuck_find(ip_arena *arena, ip_stuck_party *found, unsigned room, unsigned *n)
    ip_status ip_stuck_declare(ip_arena *arena, const ip_stuck_party *found, unsigned n, const void *text, uint64_t size)
    ip_status ip_party_next(ip_arena *arena, uint32_t *index, int *phase, ip_stuck_party *party)
