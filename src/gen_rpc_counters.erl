%% SPDX-License-Identifier: Apache-2.0
%% @doc What the node counts while the application runs. Counting takes no message and no lock, and
%% happens only where something waits, is refused, or ends.
-module(gen_rpc_counters).

-export([start/0, stop/0, get/0]).
-export([add/2, blocked/3, close/1]).

-type name() :: atom(). % one of those below
-export_type([name/0]).

%% Of this node's callers and workers.
names() ->
    [calls_blocked,       % calls that waited for room on their connection
     calls_blocked_ms,    % how long they did, in all
     calls_send_timeout,  % of them, those whose SendTimeout ended that
     casts_blocked,       % the same of casts of all kinds
     casts_blocked_ms,
     casts_dropped,       % for want of room: policy drop, or policy block and SendTimeout is over
     casts_refused,       % error `overload' raised: policy error
     casts_failed,        % for any other reason: no connection, too big
     calls_cancelled,     % sent, and not answered when the caller's time was up
     workers_killed]      % with kill_on_cancel, because nobody waited for them any more
        ++ of_connections().

%% Sums of what the driver counts for each connection: those that live and those that have ended.
of_connections() ->
    [too_late,            % requests not started: their time was up
     cancels_in,          % cancels that came
     cancels_out,         % cancels sent
     aborted,             % large messages that their sender gave up, in both directions
     blocked,             % times that a submitter was told to wait
     blocked_ms,          % how long those waited who were woken
     deflate_in,          % bytes before compression
     deflate_out].        % the same bytes after it

%% @private
-spec start() -> ok.
start() ->
    persistent_term:put(?MODULE, counters:new(length(names()), [write_concurrency])).

%% @private
-spec stop() -> ok.
stop() ->
    _ = persistent_term:erase(?MODULE),
    ok.

%% @doc All of them, since the application was started; zeros if it does not run. What each one counts
%% is in the <a href="README.html#overload">README</a>.
-spec get() -> #{name() => non_neg_integer()}.
get() ->
    lists:foldl(fun sum/2, own(), gen_rpc_port:infos()).

own() ->
    Names = names(),
    case persistent_term:get(?MODULE, undefined) of
        undefined ->
            maps:from_list([{Name, 0} || Name <- Names]);
        Counters ->
            maps:from_list([{Name, counters:get(Counters, Index)}
                            || {Index, Name} <- lists:zip(lists:seq(1, length(Names)), Names)])
    end.

sum(Info, Sums) ->
    lists:foldl(fun(Name, Acc) -> Acc#{Name := map_get(Name, Acc) + map_get(Name, Info)} end,
                Sums, of_connections()).

%% Nothing, if the application does not run.
%% @private
-spec add(name(), non_neg_integer()) -> ok.
add(Name, N) ->
    case persistent_term:get(?MODULE, undefined) of
        undefined -> ok;
        Counters -> counters:add(Counters, index(Name, names(), 1), N)
    end.

index(Name, [Name | _], Index) -> Index;
index(Name, [_ | Rest], Index) -> index(Name, Rest, Index + 1).

%% A call or cast has waited since that time, ms. It can have to wait again, and counts once.
%% @private
-spec blocked(calls | casts, first | again, integer()) -> ok.
blocked(What, Turn, Since) ->
    {Count, Time} = case What of
                        calls -> {calls_blocked, calls_blocked_ms};
                        casts -> {casts_blocked, casts_blocked_ms}
                    end,
    ok = case Turn of
             first -> add(Count, 1);
             again -> ok
         end,
    add(Time, erlang:monotonic_time(millisecond) - Since).

%% Closes a connection's port, and keeps what it has counted. Not before it is closed: until then
%% get/0 finds it there.
%% @private
-spec close(port()) -> ok.
close(Port) ->
    Info = gen_rpc_port:info(Port),
    ok = gen_rpc_port:close(Port),
    case Info of
        undefined -> ok;
        #{} -> lists:foreach(fun(Name) -> add(Name, map_get(Name, Info)) end, of_connections())
    end.
