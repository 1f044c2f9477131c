%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Code of somebody else's, run in a process of its own: whatever it does, and however long it
%% takes, its owner goes on. The owner must trap exits, and show its messages to result/2.
-module(gen_rpc_foreign).

-export([start/2, result/2, stop/1]).
-export([run/4]).

-record(foreign, {pid :: pid(),
                  timer :: reference() | none}).

-opaque t() :: #foreign{}.
-type failure() :: timeout | {error | exit | throw, Reason :: term()}.
-export_type([t/0, failure/0]).

%% Runs a function, and kills it when the time is up.
-spec start({module(), atom(), [term()]}, timeout()) -> {ok, t()} | {error, system_limit}.
start({M, F, A}, Timeout) ->
    try spawn_link(?MODULE, run, [self(), M, F, A]) of
        Pid -> {ok, #foreign{pid = Pid, timer = start_timer(Timeout)}}
    catch
        error:system_limit -> {error, system_limit}
    end.

%% What a message says of it; `none' if that is about something else. After a result there is
%% nothing left of it.
-spec result(term(), t()) -> {ok, term()} | {error, failure()} | none.
result({Pid, Result}, #foreign{pid = Pid} = Foreign) ->
    %% Not killed: it ends by itself, and what it has linked itself to lives on.
    ok = forget(Foreign),
    Result;
result({'EXIT', Pid, Reason}, #foreign{pid = Pid} = Foreign) ->
    ok = forget(Foreign),
    {error, {exit, Reason}};
result({timeout, Timer, ?MODULE}, #foreign{timer = Timer} = Foreign) ->
    ok = stop(Foreign),
    {error, timeout};
result(_Message, _Foreign) ->
    none.

-spec stop(t()) -> ok.
stop(#foreign{pid = Pid} = Foreign) ->
    true = exit(Pid, kill),
    forget(Foreign).

%% The process. No stack: that would have arguments in it.
-spec run(pid(), module(), atom(), [term()]) -> ok.
run(Owner, M, F, A) ->
    Result = try apply(M, F, A) of
                 Value -> {ok, Value}
             catch
                 Class:Reason -> {error, {Class, Reason}}
             end,
    Owner ! {self(), Result},
    ok.

start_timer(infinity) -> none;
start_timer(Timeout) -> erlang:start_timer(Timeout, self(), ?MODULE).

forget(#foreign{pid = Pid, timer = Timer}) ->
    true = unlink(Pid),
    ok = stop_timer(Timer),
    flush(Pid).

%% Of a process that was killed there may be a result as well.
flush(Pid) ->
    receive
        {'EXIT', Pid, _} -> flush(Pid);
        {Pid, _} -> flush(Pid)
    after 0 ->
        ok
    end.

stop_timer(none) ->
    ok;
stop_timer(Timer) ->
    case erlang:cancel_timer(Timer) of
        false -> receive {timeout, Timer, ?MODULE} -> ok after 0 -> ok end;
        _Left -> ok
    end.
