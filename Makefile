# Payring. `make` prints what can be made; nothing is built by accident.
#
# One rule compiles, one rule links. What belongs to an archive is found by its folder, so a new
# .c file needs no line here. Everything made lies below build/; a sanitizer's build is a second
# tree (build/asan, build/tsan) made by the same rules with another B and SANITIZE, and so is the
# one that can die at named points (build/crash, common/crash_point.h) with DEFINES.

B        ?= build
SANITIZE ?=
DEFINES  ?=
PREFIX   ?= /usr/local
DESTDIR  ?=
UNIT_DIR ?= $(PREFIX)/lib/systemd/system

CC       = gcc
CFLAGS   = -std=gnu17 -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
           -Wold-style-definition -Wpointer-arith -Wundef -Wvla -Wformat=2 -Wwrite-strings \
           -Wcast-qual -Wimplicit-fallthrough -Werror

# Asked only when something is compiled: `make`, `make help` and `make deps` have to work before
# pkg-config is installed. Library headers are system headers, our warnings are not their concern.
PACKAGES        = libh2o-evloop json-c libcurl openssl zlib
LIBRARY_HEADERS = $(shell { pkg-config --cflags $(PACKAGES); pkg-config --cflags --silence-errors cmocka; } | sed 's/-I */-isystem /g')
LIBRARIES       = $(shell pkg-config --libs $(PACKAGES))

COMPILE = $(CC) $(CFLAGS) $(SANITIZE) $(DEFINES) $(WARNINGS) -I. -D_GNU_SOURCE= -DH2O_USE_LIBUV=0 $(LIBRARY_HEADERS) \
          -pthread -MMD -MP
LINK    = $(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -pthread -Wl,--as-needed


# V=1 shows the whole commands.
comma := ,
say     = $(if $(V),,@echo '  $(1)' && )

# --- what there is ------------------------------------------------------------------------

sources_of = $(filter-out %_main.c,$(wildcard $(1)/*.c))
objects_of = $(patsubst %.c,$(B)/%.o,$(1))

COMMON_OBJECTS    := $(call objects_of,$(call sources_of,common))
SHM_OBJECTS       := $(call objects_of,$(call sources_of,shm))
WORKER_OBJECTS    := $(call objects_of,$(call sources_of,worker))
API_OBJECTS       := $(call objects_of,$(call sources_of,api))
PROCESSOR_OBJECTS := $(call objects_of,$(wildcard test/processor/*.c))
POSTER_OBJECTS    := $(call objects_of,$(wildcard test/lib/poster/*.c))
CLIENT_OBJECTS    := $(call objects_of,$(wildcard test/lib/client/*.c))
BENCH_TOOLS       := load bare bare-h2o rinha
MODEL_OBJECTS     := $(call objects_of,$(wildcard test/model/*.c))
SIM_OBJECTS       := $(call objects_of,$(wildcard test/sim/*.c))
HAMMER_OBJECTS    := $(call objects_of,$(wildcard test/race/hammer/*.c))
RACE_OBJECTS      := $(call objects_of,$(addprefix test/race/explore/,explore.c memory.c race_main.c tsan.c))
# Instrumented, but linked with test/race/explore/tsan.c instead of the sanitizer.
RACED_SOURCES     := $(wildcard test/race/explore/scenario_*.c) $(addprefix test/race/explore/,owner.c region.c) \
                     $(call sources_of,shm) worker/lane_memory.c worker/payment_protocol.c
RACED_OBJECTS     := $(patsubst %.c,$(B)/raced/%.o,$(RACED_SOURCES))
POWER_OBJECTS     := $(call objects_of,$(wildcard test/power/*.c))
UNIT_SOURCES      := $(wildcard test/unit/test_*.c)
UNIT_OBJECTS      := $(call objects_of,$(filter-out test/unit/test_%,$(wildcard test/unit/*.c)))
UNIT_TESTS        := $(patsubst test/unit/%.c,$(B)/unit/%,$(UNIT_SOURCES))

PROGRAMS := $(B)/payring-api $(B)/payring-worker $(B)/payringctl
TOOLS    := $(if $(PROCESSOR_OBJECTS),$(B)/processor) $(if $(POSTER_OBJECTS),$(B)/poster) \
            $(addprefix $(B)/,$(BENCH_TOOLS)) $(B)/bench-summary $(B)/bare-settle $(B)/feed \
            $(B)/bench-ring $(B)/bench-handover $(B)/wake-stamp.so \
            $(B)/bench-journal-ids $(B)/broken-sync.so
MODEL    := $(if $(MODEL_OBJECTS),$(B)/model)
POWER    := $(if $(POWER_OBJECTS),$(B)/power-cuts)

# Includes point one way, api and worker -> shm -> common; linking follows the same arrows.
COMMON_ARCHIVES = $(B)/libcommon.a
SHM_ARCHIVES    = $(B)/libshm.a $(COMMON_ARCHIVES)
WORKER_ARCHIVES = $(B)/libworker.a $(SHM_ARCHIVES)
API_ARCHIVES    = $(B)/libapi.a $(SHM_ARCHIVES)

# --- targets ------------------------------------------------------------------------------

.PHONY: help
help:
	@echo 'make run            a whole gateway on port 9999 with two stand-in processors; Ctrl-C ends it'
	@echo 'make test           everything: unit tests, the model, the stand-in, the cluster plays, the deliveries'
	@echo 'make test-deliveries docker-compose, systemd and the Debian package on engines (root, Debian 12)'
	@echo 'make rinha          the public 60 s test against what make run has started (or RINHA_GATEWAY)'
	@echo 'make bench          every benchmark against its bars, a line of JSON each; one: bench-accept, bench-latency ...'
	@echo
	@echo 'make all            the programs, tests and tools, in build/'
	@echo 'make unit           the unit tests alone'
	@echo 'make model          explore the payment protocol with small bounds'
	@echo 'make model-deep     the same with larger bounds: minutes, up to 2 GiB'
	@echo 'make sim            a whole gateway in simulated time, SEEDS=20000 times (SEED=... tells one in words)'
	@echo 'make sim-routing    what the routing policies earn on it'
	@echo 'make race           explore every interleaving on the shared memory; race-deep: larger bounds'
	@echo 'make hammer         all parties of a lane at once, killed and stopped, SECONDS=60'
	@echo 'make race-tsan      the same as threads under the thread sanitizer, SECONDS=60'
	@echo 'make power-cuts     cut the power of a small gateway about a million times'
	@echo 'make asan           the unit tests under the address and undefined-behaviour sanitizers'
	@echo 'make tsan           the unit tests under the thread sanitizer'
	@echo 'make asan-cluster   the cluster plays under the first two (PLAYS=... for some of them)'
	@echo 'make tsan-cluster   the cluster plays under the thread sanitizer'
	@echo 'make crash-points   die VISITS=20 times at each point of common/crash_points.def, compare the books'
	@echo 'make crash-loop     kill and stop processes at random, N=1000 times (SEED=... replays one)'
	@echo 'make rolling        restart API, worker and nginx in turn N=50 times at RATE=500 payments a second'
	@echo 'make format         put every C file into the shape of .clang-format'
	@echo 'make format-check   say which C files are not in that shape'
	@echo 'make install        programs, units, settings and pages, to DESTDIR and PREFIX (/usr/local)'
	@echo 'make deb            a Debian package, in build/deb/'
	@echo 'make deps           install the Debian packages that all of this needs'
	@echo 'make clean          remove build/'

.PHONY: all programs tools unit-tests
all: programs tools unit-tests $(MODEL) $(B)/race $(B)/hammer $(POWER)
programs: $(PROGRAMS)
tools: $(TOOLS)
unit-tests: $(UNIT_TESTS)

.PHONY: deps
deps:
	@compose/local/install-packages.sh

# A second make, because the first one may have started without the packages. What a script starts in
# the background ignores INT, and a shell cannot take that back for itself: env does.
.PHONY: run test
run: deps
	@$(MAKE) --no-print-directory programs tools
	@exec env --default-signal=INT,QUIT compose/local/run.sh
test: deps
	@exec test/lib/run-all

# Engines are brought up and ended; what is in the way of that is named in a skip.
.PHONY: test-deliveries
test-deliveries: deps programs tools
	@exec test/lib/run-tap $(wildcard test/deliveries/t*.sh)

# Processors other than the two of `make run`: RINHA_DEFAULT, RINHA_FALLBACK. `build/rinha --help`
# tells of RINHA_OPTIONS.
RINHA_GATEWAY  ?= http://127.0.0.1:9999
RINHA_DEFAULT  ?= http://127.0.0.1:8001
RINHA_FALLBACK ?= http://127.0.0.1:8002
.PHONY: rinha
rinha: $(B)/rinha
	@$< --gateway $(RINHA_GATEWAY) --default $(RINHA_DEFAULT) --fallback $(RINHA_FALLBACK) $(RINHA_OPTIONS)

# What each measures is told in the head of its script; so is what it is to be run with (ROUNDS=5 ...).
# The target, and the script in test/bench that it runs.
bench_accept  := accept-path
bench_latency := latency
bench_whole   := whole
bench_settle  := settle-path
bench_handover := handover
bench_summary-windows := summary-windows
bench_memory  := memory
bench_growth  := growth
bench_one-processor := one-processor
BENCHES := accept latency whole settle handover summary-windows memory growth one-processor
.PHONY: bench $(addprefix bench-,$(BENCHES))
$(addprefix bench-,$(BENCHES)): bench-%: programs tools
	@exec test/bench/$(bench_$*).sh
# All of them, also when one misses a bar.
bench: programs tools
	@status=0; for script in $(foreach bench,$(BENCHES),$(bench_$(bench))); do \
	    test/bench/$$script.sh || status=1; done; exit $$status

.PHONY: unit
unit: $(UNIT_TESTS)
	@exec test/lib/run-tap $(UNIT_TESTS)

.PHONY: model
model: $(B)/model
	$(B)/model $(MODEL_BOUNDS)
	$(B)/model --self-test

# SEED alone tells one seed in words; with SEEDS so many are run from it on.
SEEDS ?=
.PHONY: sim sim-routing simulator
simulator:
	@$(MAKE) --no-print-directory B=build/sim DEFINES='-include test/sim/step.h -DPAYRING_CRASH_POINTS' build/sim/simulator
sim: simulator
	build/sim/simulator $(if $(SEED),--seed=$(SEED) $(if $(SEEDS),,--trace)) \
	    $(if $(SEEDS),--seeds=$(SEEDS),$(if $(SEED),,--seeds=20000))

sim-routing: simulator
	@build/sim/simulator --routing

# Larger bounds, then those for which only little memory a state is left (1 GiB).
.PHONY: model-deep
model-deep: $(B)/model
	nice -n 19 $(B)/model --deep
	nice -n 19 $(B)/model --compact=1024

# The production code of ring, records, ledger and doorbell, every interleaving within small bounds.
.PHONY: race race-deep
race: $(B)/race
	$(B)/race
race-deep: $(B)/race
	nice -n 19 $(B)/race --deep

# Every party of a lane on a real region, as processes that are killed, or as threads of one process
# under the thread sanitizer.
SECONDS ?= 60
.PHONY: hammer race-tsan
hammer: $(B)/hammer
	$(B)/hammer --seconds=$(SECONDS) $(HAMMER_OPTIONS)
race-tsan:
	@$(MAKE) --no-print-directory B=build/tsan SANITIZE='$(THREAD)' build/tsan/hammer
	TSAN_OPTIONS=halt_on_error=1 setarch -R nice -n 19 build/tsan/hammer --threads --seconds=$(SECONDS) $(HAMMER_OPTIONS)

ADDRESS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
THREAD  := -fsanitize=thread -Wno-error=tsan
asan_make = $(MAKE) --no-print-directory B=build/asan SANITIZE='$(ADDRESS)'
.PHONY: power-cuts
power-cuts: $(B)/power-cuts
	$(B)/power-cuts --lives=100

# The thread sanitizer of gcc 12 does not know the address layout of newer kernels: no
# randomisation for it, nor for what it has made.
tsan_make = setarch -R $(MAKE) --no-print-directory B=build/tsan SANITIZE='$(THREAD)'

.PHONY: asan tsan
asan:
	+@$(asan_make) unit
tsan:
	+@$(tsan_make) unit

# Who is on the stage: the programs, the stand-in processor and the poster.
# Not those that load something else into the programs: it and a sanitizer both have to come first.
PLAYS   ?= $(filter-out %-clock.sh %-sync-fails.sh,$(wildcard test/cluster/t*.sh))
PLAYS_AT_ONCE ?= 1
PLAYERS  = $(PROGRAMS) $(B)/processor $(B)/poster
.PHONY: players asan-players asan-cluster tsan-cluster
players: $(PLAYERS)
asan-players:
	+@$(asan_make) players
asan-cluster: asan-players
	@exec env PAYRING_BUILD=build/asan test/lib/run-tap -j $(PLAYS_AT_ONCE) $(wildcard $(PLAYS))
tsan-cluster:
	+@$(tsan_make) players
	@exec env PAYRING_BUILD=build/tsan setarch -R test/lib/run-tap -j $(PLAYS_AT_ONCE) $(wildcard $(PLAYS))

# The programs that can die at named points, and who else plays with them. What is made of the visits
# and crashes is planned from SEED, at random without one.
VISITS ?= 20
N      ?= 1000
.PHONY: crash-players crash-build crash-points crash-loop
crash-players: $(PROGRAMS) $(B)/processor $(B)/poster $(B)/prefill $(B)/forgetful-disk.so
crash-build:
	@$(MAKE) --no-print-directory B=build/crash DEFINES=-DPAYRING_CRASH_POINTS crash-players
crash-points: crash-build
	@exec env VISITS=$(VISITS) SEED=$(SEED) test/lib/run-tap test/crash/t01-crash-points.sh test/crash/t03-crash-journal.sh
crash-loop: programs tools
	@exec env N=$(N) SEED=$(SEED) test/crash/t02-crash-loop.sh

# Each component in turn, N times, under load.
RATE   ?= 500
.PHONY: rolling
rolling: N = 50
rolling: programs tools
	@exec env N=$(N) RATE=$(RATE) test/cluster/t39-rolling-restarts.sh

C_FILES = $(shell find api worker common shm test -name '*.[ch]')
.PHONY: format format-check
format:
	clang-format -i --style=file $(C_FILES)
format-check:
	@clang-format --dry-run --Werror --style=file $(C_FILES)

.PHONY: install deb
install: $(PROGRAMS)
	@compose/systemd/install.sh "$(DESTDIR)" "$(PREFIX)" "$(UNIT_DIR)" $(PROGRAMS)

# The package is built from a copy, below build/, where debian/ may lie where its tools want it.
deb:
	@PAYRING_PACKAGES=deb compose/local/install-packages.sh
	@compose/debian/build.sh build/deb

.PHONY: clean
clean:
	rm -rf build

# --- rules --------------------------------------------------------------------------------

# The compiler's flags are part of every object: another Makefile, another build.
$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,compile $<)$(COMPILE) -c -o $@ $<

$(B)/raced/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,compile $< for the explorer)$(COMPILE) -fsanitize=thread -Wno-tsan -DSHM_WORDS_ARE_PLAIN -c -o $@ $<

# Made anew each time: `ar r` would keep the member of a file that is gone.
$(B)/lib%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,archive $@)ar rcs $@ $^

$(B)/libcommon.a: $(COMMON_OBJECTS)
$(B)/libshm.a: $(SHM_OBJECTS)
$(B)/libworker.a: $(WORKER_OBJECTS)
$(B)/libapi.a: $(API_OBJECTS)
$(B)/libunit.a: $(UNIT_OBJECTS)
$(B)/libclient.a: $(CLIENT_OBJECTS)

link = $(call say,link $@)$(LINK) -o $@ $^ $(LIBRARIES) $(1)

$(B)/payring-api: $(B)/api/api_main.o $(API_ARCHIVES)
	$(call link)
$(B)/payring-worker: $(B)/worker/worker_main.o $(WORKER_ARCHIVES)
	$(call link)
$(B)/payringctl: $(B)/worker/payringctl_main.o $(WORKER_ARCHIVES)
	$(call link)

# What judges the gateway shares no code with it.
$(B)/processor: $(PROCESSOR_OBJECTS)
	$(call link)
$(B)/poster: $(POSTER_OBJECTS) $(B)/libclient.a
	$(call link)
define bench_tool
$(B)/$(1): $(call objects_of,$(wildcard test/bench/$(1)/*.c)) $(B)/libclient.a
	$$(call link,-lm)
endef
$(foreach tool,$(BENCH_TOOLS),$(eval $(call bench_tool,$(tool))))

# Not the gateway, but what it is compared with: the same library, the same bodies.
$(B)/bare-settle: $(call objects_of,$(wildcard test/bench/bare-settle/*.c)) $(COMMON_ARCHIVES)
	$(call link)

# Accepts as an API does, without HTTP.
$(B)/feed: $(call objects_of,$(wildcard test/bench/feed/*.c)) $(B)/api/payment_intake.o $(SHM_ARCHIVES)
	$(call link)

# Our ring beside ConcurrencyKit's (libck-dev, for this alone).
$(B)/bench-ring: $(call objects_of,$(wildcard test/bench/ring/*.c)) $(SHM_ARCHIVES)
	$(call link)

# A producer and a processor in one, so that one clock tells when what happened.
$(B)/bench-handover: $(call objects_of,$(wildcard test/bench/handover/*.c)) $(B)/api/payment_intake.o $(SHM_ARCHIVES) $(B)/libclient.a
	$(call link,-lm)

# Measures the library that the API calls, and no program.
$(B)/bench-summary: $(B)/test/bench/summary/summary_main.o $(SHM_ARCHIVES)
	$(call link,-lm)

$(B)/bench-journal-ids: $(B)/test/bench/journal/journal_ids_main.o $(WORKER_ARCHIVES)
	$(call link)

# A disk whose syncs fail, to be loaded into a program.
$(B)/broken-sync.so: test/lib/broken_sync/broken_sync.c Makefile
	@mkdir -p $(@D)
	$(call say,link $@)$(COMPILE) -fPIC -shared -o $@ $<

# One that forgets what was not synced.
$(B)/forgetful-disk.so: test/lib/forgetful_disk/forgetful_disk.c Makefile
	@mkdir -p $(@D)
	$(call say,link $@)$(COMPILE) -fPIC -shared -o $@ $<

$(B)/prefill: $(B)/test/crash/prefill/prefill_main.o $(WORKER_ARCHIVES)
	$(call link)

# Has a worker say when its doorbell woke it.
$(B)/wake-stamp.so: test/bench/handover/stamp/wake_stamp.c Makefile
	@mkdir -p $(@D)
	$(call say,link $@)$(COMPILE) -fPIC -shared -o $@ $<

# The model explores the very object that the worker runs.
$(B)/model: $(MODEL_OBJECTS) $(B)/worker/payment_protocol.o $(SHM_ARCHIVES)
	$(call link)

# The simulator links its own clock, log and upstream, and leads the calls of the kernel, and a few
# that it wants to see, to itself. Only in a tree whose objects know its steps: see `sim`.
SIM_KERNEL   := open close access link unlink mkfifo lstat fstat read write fcntl eventfd eventfd_write \
                posix_fallocate fstatvfs mmap munmap mprotect getrandom nanosleep getpid \
                pthread_create pthread_join malloc calloc realloc free \
                shm_futex_wait shm_futex_wake
SIM_OBSERVED := payment_protocol_step shm_ledger_publish shm_ledger_write shm_block_index_append \
                shm_filter_remember shm_filter_rotate shm_payments_owner_find lane_purge_if_due
$(B)/simulator: $(SIM_OBJECTS) $(B)/api/payment_intake.o $(WORKER_ARCHIVES)
	$(call link,$(addprefix -Wl$(comma)--wrap=,$(SIM_KERNEL) $(SIM_OBSERVED)))
# Every party of a lane at once on a real region, killed or under the thread sanitizer.
$(B)/hammer: $(HAMMER_OBJECTS) $(WORKER_ARCHIVES)
	$(call link)

# The production code under a memory of our own.
WRAPPED = write read open close shm_futex_wait shm_futex_wake
$(B)/race: $(RACE_OBJECTS) $(RACED_OBJECTS) $(COMMON_ARCHIVES)
	$(call link,$(addprefix -Wl$(comma)--wrap=,$(WRAPPED)))

# The journal on a disk that loses what was not synced.
$(B)/power-cuts: $(POWER_OBJECTS) $(WORKER_ARCHIVES)
	$(call link)

# A unit test is linked with the rooms that it includes from and those below them, so that it
# builds while another room does not.
rooms_of = $(shell grep -ohE '^\#include "(common|shm|worker|api|test/lib/client)/' $(1) | cut -d'"' -f2 | sort -u)
archives_for = $(if $(filter api/,$(1)),$(B)/libapi.a) \
               $(if $(filter worker/,$(1)),$(B)/libworker.a) \
               $(if $(filter api/ worker/ shm/,$(1)),$(B)/libshm.a) $(B)/libcommon.a \
               $(if $(filter test/lib/client/,$(1)),$(B)/libclient.a)
define unit_test
$(B)/unit/$(1): $(B)/test/unit/$(1).o $(if $(UNIT_OBJECTS),$(B)/libunit.a) \
                $(call archives_for,$(call rooms_of,test/unit/$(1).c $(patsubst $(B)/%.o,%.c,$(UNIT_OBJECTS))))
	@mkdir -p $$(@D)
	$$(call link,-lcmocka)
endef
$(foreach test,$(UNIT_SOURCES),$(eval $(call unit_test,$(basename $(notdir $(test))))))

.SECONDARY:
.DELETE_ON_ERROR:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
