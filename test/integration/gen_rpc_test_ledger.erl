%% SPDX-License-Identifier: Apache-2.0
%% Runs on the sites: callers that give each call and cast a number of its own, and the function
%% that they call. Callers write down what they were told, servers what they ran, before they answer. It
%% is in the kernel's hands then, so it outlives a node that is killed. gen_rpc_test_books reads it.
-module(gen_rpc_test_ledger).

-export([open/1, close/0, start_callers/1, stop_callers/0, dests/1]).
-export([calls/3, reply/2, linger/0, wake/0]).
-export([run/2, answer/1, number/1, of_number/1, kinds/0]).
-export([caller_bytes/0, server_bytes/0, called/3, outcome/1]).

-type kind() :: call | cast | ordered_cast | async_call | large_call | keyed_call.
-type outcome() :: value | nodedown | timeout | badtcp | sent | wrong_value | stray_message | other.
-type fields() :: #{site := byte(), life := byte(), caller := 0..65535, calm := boolean(),
                    kind := kind(), seq := non_neg_integer()}.
-export_type([kind/0, outcome/0, fields/0]).

-type plan() :: #{site := byte(),              % where these callers are
                  life := byte(),              % how often the site was started before
                  seed := integer(),
                  calm := boolean(),           % no faults: all must go well
                  first := non_neg_integer(),  % number of the first of these callers
                  servers := [{byte(), node(), Callers :: non_neg_integer()}]}.
-export_type([plan/0]).

-define(STOP, {?MODULE, stop}).
-define(AWAKE, {?MODULE, awake}).
-define(CALLERS, gen_rpc_test_callers).
-define(SERVED, gen_rpc_test_served).
-define(CALLED, gen_rpc_test_called).

%% Time for a call, ms. Shorter than some of the faults, so that calls end in all ways.
-define(TIMEOUT, 3000).

%% For those whose calls should end for another reason, ms.
-define(LONG_TIMEOUT, 10000).

%% How often those who linger look whether they may go, ms.
-define(LOOK, 50).

%% Callers whose call failed wait so long, ms: else most numbers would be spent on dead nodes.
-define(PAUSE, 20).

%% Records that are written at once, at most.
-define(BATCH, 500).

%% In the list of kinds, of which a caller takes one by chance, each has as many places as
%% its share.
-define(MIX, {call, call, call, call, call, call, call, call, call, call,
              cast, cast, cast, cast, ordered_cast, ordered_cast,
              async_call, keyed_call, keyed_call}).

%% One call in so many has a payload of more than one fragment.
-define(LARGE_ONE_IN, 200).
-define(LARGE_BYTES, 100000).
-define(SMALL_BYTES, 300).

%%% Files

%% Begins two new files: Base.served, Base.called.
-spec open(file:filename()) -> ok.
open(Base) ->
    lists:foreach(fun({Name, Suffix}) -> ok = open_file(Name, Base ++ Suffix) end,
                  [{?SERVED, ".served"}, {?CALLED, ".called"}]).

open_file(Name, File) ->
    Opener = self(),
    Pid = spawn(fun() ->
                        {ok, Fd} = file:open(File, [raw, binary, append, exclusive]),
                        true = register(Name, self()),
                        Opener ! {self(), opened},
                        write_batches(Fd)
                end),
    Monitor = monitor(process, Pid),
    receive
        {Pid, opened} -> demonitor(Monitor, [flush]), ok;
        {'DOWN', Monitor, process, Pid, Reason} -> {error, Reason}
    end.

-spec close() -> ok.
close() ->
    lists:foreach(fun(Name) ->
                          Monitor = monitor(process, Name),
                          exit(whereis(Name), kill),
                          receive {'DOWN', Monitor, _, _, _} -> ok end
                  end, [?SERVED, ?CALLED]).

%% Whoever notes something goes on when it is written. Those who come together share one write.
note(Name, Record) ->
    Ref = make_ref(),
    Name ! {note, self(), Ref, Record},
    receive {Ref, noted} -> ok end.

write_batches(Fd) ->
    receive {note, _, _, _} = First -> write_batch(Fd, more([First], ?BATCH)) end.

more(Notes, 0) ->
    Notes;
more(Notes, Left) ->
    receive {note, _, _, _} = Note -> more([Note | Notes], Left - 1)
    after 0 -> Notes
    end.

write_batch(Fd, Notes0) ->
    Notes = lists:reverse(Notes0),
    ok = file:write(Fd, [Record || {note, _, _, Record} <- Notes]),
    lists:foreach(fun({note, Pid, Ref, _}) -> Pid ! {Ref, noted} end, Notes),
    write_batches(Fd).

%% Sizes of a record in each file.
-spec caller_bytes() -> pos_integer().
caller_bytes() -> 10.

-spec server_bytes() -> pos_integer().
server_bytes() -> 8.

%%% Numbers: who has called, in which life of its node, when, how, and the how-manieth time.

-spec number(fields()) -> non_neg_integer().
number(#{site := Site, life := Life, caller := Caller, calm := Calm, kind := Kind, seq := Seq}) ->
    CalmBit = case Calm of true -> 1; false -> 0 end,
    <<Number:64>> = <<Site, Life, Caller:12, CalmBit:1, (index(Kind, kinds())):3, Seq:32>>,
    Number.

-spec of_number(non_neg_integer()) -> fields().
of_number(Number) ->
    <<Site, Life, Caller:12, Calm:1, Kind:3, Seq:32>> = <<Number:64>>,
    #{site => Site, life => Life, caller => Caller, calm => Calm =:= 1,
      kind => lists:nth(Kind + 1, kinds()), seq => Seq}.

-spec kinds() -> [kind()].
kinds() -> [call, cast, ordered_cast, async_call, large_call, keyed_call].

%% A caller's record.
-spec called(non_neg_integer(), byte(), outcome()) -> binary().
called(Number, Server, Outcome) ->
    <<Number:64, Server, (index(Outcome, outcomes()))>>.

-spec outcome(byte()) -> outcome().
outcome(Byte) -> lists:nth(Byte + 1, outcomes()).

outcomes() -> [value, nodedown, timeout, badtcp, sent, wrong_value, stray_message, other].

index(X, [X | _]) -> 0;
index(X, [_ | Rest]) -> 1 + index(X, Rest).

%%% The function that is called

-spec run(non_neg_integer(), binary()) -> {non_neg_integer(), non_neg_integer(), binary()}.
run(Number, Payload) ->
    ok = note(?SERVED, <<Number:64>>),
    {Number, answer(Number), Payload}.

%% What no other number has, and nobody finds by passing the number on.
-spec answer(non_neg_integer()) -> non_neg_integer().
answer(Number) ->
    Number * 2654435761 + 97.

%%% Callers

%% Each has one server for all its life, so one that is lost holds up only its own callers.
-spec start_callers(plan()) -> ok.
start_callers(#{servers := Servers, first := First} = Plan) ->
    ok = persistent_term:put(?STOP, false),
    Dests = [{Server, Node} || {Server, Node, N} <- Servers, _ <- lists:seq(1, N)],
    Numbered = lists:zip(lists:seq(First, First + length(Dests) - 1), Dests),
    _ = spawn(fun() ->
                      true = register(?CALLERS, self()),
                      process_flag(trap_exit, true),
                      Pids = [spawn_link(fun() -> caller(Plan, I, Dest) end)
                              || {I, Dest} <- Numbered],
                      watch(length(Pids))
              end),
    ok.

watch(0) ->
    ok;
watch(Left) ->
    receive {'EXIT', _, normal} -> watch(Left - 1) end.

%% When it returns all callers have ended, after what they were about.
-spec stop_callers() -> ok.
stop_callers() ->
    ok = persistent_term:put(?STOP, true),
    case whereis(?CALLERS) of
        undefined -> ok;
        Pid ->
            Monitor = monitor(process, Pid),
            receive {'DOWN', Monitor, process, Pid, Reason} when Reason =:= normal;
                                                                 Reason =:= noproc -> ok
            end
    end.

caller(#{site := Site, life := Life, seed := Seed, calm := Calm}, I, {Server, Node}) ->
    _ = rand:seed(exsss, {Seed, Site * 256 + Life, I}),
    Payload = rand:bytes(?LARGE_BYTES),
    calls(#{number => #{site => Site, life => Life, caller => I, calm => Calm, kind => call,
                        seq => 0},
            server => Server, node => Node, payload => Payload}).

calls(#{number := Number} = Caller) ->
    case persistent_term:get(?STOP) of
        true -> ok;
        false -> calls(Caller#{number := one(Caller, Number#{kind := kind()})})
    end.

kind() ->
    case rand:uniform(?LARGE_ONE_IN) of
        1 -> large_call;
        _ -> element(rand:uniform(tuple_size(?MIX)), ?MIX)
    end.

one(#{server := Server, node := Node, payload := Payload}, #{kind := Kind, seq := Seq} = Of) ->
    Number = number(Of),
    Size = case Kind of large_call -> ?LARGE_BYTES; _ -> rand:uniform(?SMALL_BYTES) end,
    Part = binary:part(Payload, 0, Size),
    Result = send(Kind, Node, [Number, Part]),
    Outcome = stray(told(Kind, Number, Part, Result)),
    _ = Outcome =:= other andalso logger:error("~p was told ~p", [Kind, Result]),
    ok = note(?CALLED, called(Number, Server, Outcome)),
    _ = lists:member(Outcome, [value, sent]) orelse receive after ?PAUSE -> ok end,
    Of#{seq := Seq + 1}.

send(cast, Node, A) -> gen_rpc:cast(Node, ?MODULE, run, A);
send(ordered_cast, Node, A) -> gen_rpc:ordered_cast(Node, ?MODULE, run, A);
send(keyed_call, Node, A) -> gen_rpc:call(keyed(Node), ?MODULE, run, A, ?TIMEOUT);
send(async_call, Node, A) ->
    case gen_rpc:nb_yield(gen_rpc:async_call(Node, ?MODULE, run, A), ?TIMEOUT) of
        {value, Value} -> Value;
        timeout -> {badrpc, timeout}
    end;
send(_Call, Node, A) ->
    gen_rpc:call(Node, ?MODULE, run, A, ?TIMEOUT).

keyed(Node) -> {Node, key}.

%% All that callers of a node send to.
-spec dests(node()) -> [gen_rpc:dest()].
dests(Node) -> [Node, keyed(Node)].

told(Kind, _Number, _Payload, true) when Kind =:= cast; Kind =:= ordered_cast -> sent;
told(_Kind, _Number, _Payload, {badrpc, nodedown}) -> nodedown;
told(_Kind, _Number, _Payload, {badrpc, timeout}) -> timeout;
told(_Kind, _Number, _Payload, {badtcp, _}) -> badtcp;
told(_Kind, Number, Payload, {N, Answer, Back}) when is_integer(N) ->
    case {N, Answer, Back} =:= {Number, answer(Number), Payload} of
        true -> value;
        false -> wrong_value
    end;
told(_Kind, _Number, _Payload, _Other) ->
    other.

%%% Calls without a ledger

%% So many callers each make so many calls, one after the other. What they were told, and how often.
-spec calls(node(), pos_integer(), pos_integer()) -> #{outcome() => pos_integer()}.
calls(Node, Callers, Each) ->
    Ids = [spawn_monitor(fun() -> exit({told, [plain_call(Node, {I, J})
                                               || J <- lists:seq(1, Each)]}) end)
           || I <- lists:seq(1, Callers)],
    Told = lists:append([receive {'DOWN', Monitor, process, Pid, {told, Told}} -> Told end
                         || {Pid, Monitor} <- Ids]),
    lists:foldl(fun(Outcome, Acc) ->
                        maps:update_with(Outcome, fun(N) -> N + 1 end, 1, Acc)
                end, #{}, Told).

plain_call(Node, {I, J}) ->
    Number = I bsl 32 + J,
    Payload = binary:copy(<<Number:64>>, rand:uniform(?SMALL_BYTES)),
    stray(told(call, Number, Payload,
               gen_rpc:call(Node, ?MODULE, reply, [Number, Payload], ?LONG_TIMEOUT))).

-spec reply(non_neg_integer(), binary()) -> {non_neg_integer(), non_neg_integer(), binary()}.
reply(Number, Payload) ->
    {Number, answer(Number), Payload}.

%% Returns when somebody wakes up all who are here.
-spec linger() -> ok.
linger() ->
    case persistent_term:get(?AWAKE, false) of
        true -> ok;
        false -> receive after ?LOOK -> linger() end
    end.

-spec wake() -> ok.
wake() ->
    persistent_term:put(?AWAKE, true).

%% Whatever is in the mailbox of a caller that waits for nothing should not be there.
stray(Outcome) ->
    case process_info(self(), message_queue_len) of
        {message_queue_len, 0} -> Outcome;
        _ -> stray_message
    end.
