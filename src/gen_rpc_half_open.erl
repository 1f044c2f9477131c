%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Which connections are in their handshake, and how many of them there may be: in all, and from one
%% address. A pure data structure.
%%
%% Where there is no room for one more, it takes the place of the oldest one of the address that has
%% most of them. So strangers who only hold places keep nobody out, and a flood of them keeps nobody
%% out either who comes from an address of its own, unless it comes from more addresses than there
%% are places.
-module(gen_rpc_half_open).

-export([new/1, add/4, take/2, ports/1, count/1, crowd/2]).

-record(entry, {number :: pos_integer(),
                source :: source(),
                about :: term()}).

-record(half_open, {limits :: limits(),
                    next = 1 :: pos_integer(),
                    entries = #{} :: #{port() => #entry{}},
                    by_source = #{} :: #{source() => ages()},
                    by_crowd = gb_sets:new() :: gb_sets:set(crowd())}). % each source once

-type limits() :: #{max_half_open := pos_integer(), max_half_open_per_address := pos_integer()}.
-type limit() :: max_half_open | max_half_open_per_address.
-type ages() :: gb_sets:set({pos_integer(), port()}). % older ones have smaller numbers

%% The largest has most; of those with as many, the oldest one.
-type crowd() :: {Size :: pos_integer(), MinusOldest :: neg_integer(), source()}.

%% Whoever has one IPv6 address usually has the whole /64 network.
-type source() :: inet:ip4_address() | {0..65535, 0..65535, 0..65535, 0..65535, network}.

-opaque t() :: #half_open{}.
-export_type([t/0, limits/0, limit/0]).

-spec new(limits()) -> t().
new(Limits) ->
    #half_open{limits = Limits}.

%% One more. `replaces': another one has to go.
-spec add(port(), term(), inet:ip_address(), t()) ->
          {ok, t()} | {replaces, {port(), About :: term()}, limit(), t()}.
add(Port, About, Ip, H) ->
    Source = source(Ip),
    case full(Source, H) of
        none ->
            {ok, insert(Port, Source, About, H)};
        {Limit, Crowd} ->
            {_, Oldest} = gb_sets:smallest(ages(Crowd, H)),
            {Gone, Rest} = take(Oldest, H),
            {replaces, {Oldest, Gone}, Limit, insert(Port, Source, About, Rest)}
    end.

%% The first limit that leaves no room, and the source that has to make it.
full(Source, #half_open{limits = Limits, entries = Entries, by_crowd = ByCrowd} = H) ->
    #{max_half_open := Max, max_half_open_per_address := MaxOfOne} = Limits,
    case {gb_sets:size(ages(Source, H)) >= MaxOfOne, map_size(Entries) >= Max} of
        {true, _} ->
            {max_half_open_per_address, Source};
        {false, true} ->
            {_, _, Most} = gb_sets:largest(ByCrowd),
            {max_half_open, Most};
        {false, false} ->
            none
    end.

insert(Port, Source, About, #half_open{next = Number, entries = Entries} = H) ->
    Ages = gb_sets:add_element({Number, Port}, ages(Source, H)),
    Entry = #entry{number = Number, source = Source, about = About},
    changed(Source, Ages, H#half_open{next = Number + 1, entries = Entries#{Port => Entry}}).

%% Removes one that is known, and gives back what was said about it.
-spec take(port(), t()) -> {About :: term(), t()} | error.
take(Port, #half_open{entries = Entries} = H) ->
    case maps:take(Port, Entries) of
        {#entry{number = Number, source = Source, about = About}, Rest} ->
            Ages = gb_sets:del_element({Number, Port}, ages(Source, H)),
            {About, changed(Source, Ages, H#half_open{entries = Rest})};
        error ->
            error
    end.

ages(Source, #half_open{by_source = BySource}) ->
    maps:get(Source, BySource, gb_sets:new()).

changed(Source, Ages, #half_open{by_source = BySource, by_crowd = ByCrowd} = H) ->
    Others = lists:foldl(fun gb_sets:del_element/2, ByCrowd, crowds(Source, ages(Source, H))),
    H#half_open{by_source = case gb_sets:is_empty(Ages) of
                                true -> maps:remove(Source, BySource);
                                false -> BySource#{Source => Ages}
                            end,
                by_crowd = lists:foldl(fun gb_sets:add_element/2, Others, crowds(Source, Ages))}.

crowds(Source, Ages) ->
    [{gb_sets:size(Ages), -element(1, gb_sets:smallest(Ages)), Source}
     || not gb_sets:is_empty(Ages)].

%% How many there are from this address.
-spec crowd(inet:ip_address(), t()) -> non_neg_integer().
crowd(Ip, H) ->
    gb_sets:size(ages(source(Ip), H)).

-spec ports(t()) -> [port()].
ports(#half_open{entries = Entries}) ->
    maps:keys(Entries).

-spec count(t()) -> non_neg_integer().
count(#half_open{entries = Entries}) ->
    map_size(Entries).

source({0, 0, 0, 0, 0, 16#FFFF, High, Low}) ->
    {High bsr 8, High band 255, Low bsr 8, Low band 255};
source({A, B, C, D, _, _, _, _}) ->
    {A, B, C, D, network};
source(Ip) ->
    Ip.
