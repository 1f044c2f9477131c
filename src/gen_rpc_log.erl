%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Logging: structured reports of the domain [gen_rpc]. What a peer can cause is limited to
%% LINES_PER_SECOND for the whole node; the next line then says how many were left out. Lines about
%% single messages have a limit of their own, so they never crowd out what became of a connection.
%% Arguments, results, keys and cookies are never logged.
-module(gen_rpc_log).

-export([error/1, warning/1, notice/1, message/1, stray/1]).
-export([reason/2, shown/1, kind/1, start/0, stop/0, format/1]).

-include_lib("kernel/include/logger.hrl").

-define(LINES_PER_SECOND, 50).
-define(LIMITER, {?MODULE, limiter}).

%% Slots of a limit: the second that is counted, lines in it, lines left out.
-define(SECOND(Limit), (Limit + 1)).
-define(LINES(Limit), (Limit + 2)).
-define(LEFT_OUT(Limit), (Limit + 3)).

%% Where the slots of each limit begin.
-define(GENERAL, 0).
-define(MESSAGES, 3).

-type report() :: #{what := string(), atom() => term()}.
-export_type([report/0]).

%% Makes the reports visible: OTP's default handler drops every domain but its own, unless told.
%% A handler that lets through or drops our domain by a filter of its own is not affected.
-spec start() -> ok.
start() ->
    ok = persistent_term:put(?LIMITER, atomics:new(6, [])),
    _ = logger:add_handler_filter(default, gen_rpc, {fun logger_filters:domain/2,
                                                     {log, sub, [gen_rpc]}}),
    ok.

-spec stop() -> ok.
stop() ->
    _ = logger:remove_handler_filter(default, gen_rpc),
    _ = persistent_term:erase(?LIMITER),
    ok.

%% Adds a reason to a report; one that has to do with TLS also in words.
-spec reason(term(), report()) -> report().
reason({tls, What} = Reason, Report) ->
    Report#{reason => Reason, why => gen_rpc_tls:explain(What)};
reason(Reason, Report) ->
    Report#{reason => shown(Reason)}.

%% What of a reason is shown. What a source says with {error, Reason} is; but a crash, or a value of
%% no known shape, may have its secrets in it.
-spec shown(term()) -> term().
shown({external_source_error, {bad_config, _}}) ->
    {external_source_error, bad_config};
shown({external_source_error, {Class, Reason}})
  when Class =:= error; Class =:= exit; Class =:= throw ->
    {external_source_error, {Class, kind(Reason)}};
shown(Reason) ->
    Reason.

%% The kind of a function's failure. A reason can carry arguments or be one, so only what the
%% language itself raises is told.
-spec kind(term()) -> atom().
kind(Reason) when is_tuple(Reason), tuple_size(Reason) > 0 -> kind(element(1, Reason));
kind(Reason) ->
    case lists:member(Reason, [badarg, badarith, badarity, badfun, badkey, badmap, badmatch,
                               case_clause, function_clause, if_clause, noproc, system_limit,
                               timeout_value, try_clause, undef]) of
        true -> Reason;
        false -> other
    end.

-spec error(report()) -> ok.
error(Report) ->
    log(error, Report).

-spec warning(report()) -> ok.
warning(Report) ->
    log(warning, Report).

-spec notice(report()) -> ok.
notice(Report) ->
    log(notice, Report).

%% What became of a cast or a broadcast.
-spec message(report()) -> ok.
message(Report) ->
    log(warning, ?MESSAGES, Report).

%% A message, cast or call that no process of ours understands. Its content is not logged.
-spec stray(message | cast | call) -> ok.
stray(Kind) ->
    log(warning, #{what => "unexpected " ++ atom_to_list(Kind) ++ " ignored",
                   process => registered_name()}).

registered_name() ->
    case process_info(self(), registered_name) of
        {registered_name, Name} -> Name;
        _ -> self()
    end.

log(Level, Report) ->
    log(Level, ?GENERAL, Report).

log(Level, Limit, Report) ->
    case allowed(Limit) of
        {true, 0} -> emit(Level, Report);
        {true, LeftOut} -> emit(Level, Report#{left_out => LeftOut});
        false -> ok
    end.

emit(Level, Report) ->
    ?LOG(Level, Report, #{domain => [gen_rpc], report_cb => fun ?MODULE:format/1}).

allowed(Limit) ->
    case persistent_term:get(?LIMITER, undefined) of
        undefined ->
            {true, 0};
        Ref ->
            Now = erlang:monotonic_time(second),
            case atomics:exchange(Ref, ?SECOND(Limit), Now) of
                Now -> ok;
                _ -> atomics:put(Ref, ?LINES(Limit), 0)
            end,
            case atomics:add_get(Ref, ?LINES(Limit), 1) =< ?LINES_PER_SECOND of
                true ->
                    {true, atomics:exchange(Ref, ?LEFT_OUT(Limit), 0)};
                false ->
                    atomics:add(Ref, ?LEFT_OUT(Limit), 1),
                    false
            end
    end.

%% One line: "gen_rpc: what key=value ...".
-spec format(report()) -> {io:format(), [term()]}.
format(#{what := What} = Report) ->
    Rest = [[" ", atom_to_list(Key), "=", value(Value)]
            || {Key, Value} <- lists:sort(maps:to_list(maps:remove(what, Report)))],
    {"gen_rpc: ~ts~ts", [What, Rest]}.

%% A peer chooses its own name, so text is shown as it is only if it can't look like another line.
value(Value) ->
    Text = case is_binary(Value) of
               true -> unicode:characters_to_list(Value);
               false -> Value
           end,
    case io_lib:printable_unicode_list(Text) andalso lists:all(fun(C) -> C >= $\s end, Text) of
        true -> Text;
        false -> io_lib:format("~tw", [Value])
    end.
